/* Measuring the operators of a run, and TVM's report of it. */
#include "graph/executor.h"

#include "base/threads.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

int tvm_graph_step_profile(const struct tvm_graph_session *session,
                           const struct tvm_graph_step *step, struct tvm_profile *profile) {
    const struct tvm_graph_plan *plan = session->plan;
    const struct tvm_graph_node *node = &plan->nodes[step->node];
    uint32_t count = node->input_count + node->output_count;
    struct tvm_profile_operator *op;
    if (tvm_profile_add(profile, node->name, node->function, count, &op))
        return -1;
    for (uint32_t k = 0; k < count; k++) {
        uint32_t id = tvm_graph_node_argument(node, k);
        if (tvm_profile_add_tensor(op, plan->nodes[plan->entries[id].node].name,
                                   &session->headers[id].dl, k >= node->input_count))
            return -1;
    }
    if (tvm_profile_start(profile, op))
        return -1;
    return tvm_profile_stop(profile, op, tvm_graph_step_run(step));
}

int tvm_graph_text_end(FILE *out, char **text, size_t *size, struct tvm_value *result) {
    bool failed = !out || ferror(out);
    if (out && fclose(out))
        failed = true;
    int status = failed ? tvm_raise_out_of_memory()
                        : tvm_value_from_text(TVM_TYPE_STR, *text, *size, result);
    free(*text);
    return status;
}

/* TVM's report, as JSON. Numbers are written as integers: the point of a double is a comma in some
 * locales. */

static void write_text(FILE *out, const char *text) {
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < ' ')
            fprintf(out, "\\u%04x", c);
        else
            fprintf(out, "%s%c", c == '"' || c == '\\' ? "\\" : "", c);
    }
}

static void write_device(FILE *out, DLDevice device) {
    char text[TVM_DEVICE_TEXT_SIZE];
    for (const char *c = tvm_device_print(device, text); *c; c++)
        if (*c != '(' && *c != ')') /* TVM's cpu0 is our cpu(0) */
            fputc(*c, out);
}

/* What rows of operators and of devices have in common. */
static void write_row(FILE *out, const char *name, DLDevice device, int64_t nanos) {
    fprintf(out, "\"Name\":{\"string\":\"");
    write_text(out, name);
    fprintf(out, "\"},\"Device\":{\"string\":\"");
    write_device(out, device);
    fprintf(out,
            "\"},\"Count\":{\"count\":1},\"Duration (us)\":{\"microseconds\":%" PRId64 ".%03d}",
            nanos / 1000, (int)(nanos % 1000));
}

static void write_operator(FILE *out, const struct tvm_profile_operator *op, int64_t total) {
    char dtype[TVM_DTYPE_TEXT_SIZE], shape[TVM_SHAPE_TEXT_SIZE];
    int64_t nanos = op->end - op->start;
    int share = (int)((double)nanos * 1e5 / (double)(total + !total));
    fprintf(out, "{");
    write_row(out, op->function.data, op->device, nanos);
    fprintf(out,
            ",\"Percent\":{\"percent\":%d.%03d},"
            "\"Argument Shapes\":{\"string\":\"",
            share / 1000, share % 1000);
    for (size_t k = 0; k < op->input_count + op->output_count; k++) {
        const struct tvm_profile_tensor *tensor = &op->tensors[k];
        fprintf(out, "%s%s%s", k ? ", " : "", tvm_dtype_print(tensor->dtype, dtype),
                tvm_shape_print(tensor->shape, tensor->ndim, shape, sizeof(shape)));
    }
    fprintf(out, "\"}}");
}

static int write_report(const struct tvm_graph_session *session, const struct tvm_profile *profile,
                        struct tvm_value *result) {
    int threads = session->context->thread_limit ? session->context->thread_limit : tvm_pool_size();
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return tvm_graph_text_end(out, &text, &size, result);
    fprintf(out, "{\"calls\":[");
    for (const struct tvm_profile_operator *it = profile->first; it; it = it->next) {
        fprintf(out, "%s", it == profile->first ? "" : ",");
        write_operator(out, it, profile->total);
    }
    fprintf(out, "],\"device_metrics\":{\"");
    write_device(out, session->device);
    fprintf(out, "\":{");
    write_row(out, "Total", session->device, profile->total);
    fprintf(out,
            "}},\"configuration\":{\"Executor\":{\"string\":\"Graph\"},"
            "\"Number of threads\":{\"count\":%d}}}",
            threads);
    return tvm_graph_text_end(out, &text, &size, result);
}

int tvm_graph_session_report(struct tvm_graph_session *session, struct tvm_value *result) {
    struct tvm_profile profile = {0};
    if (tvm_graph_session_enter(session))
        return -1;
    session->context->profile = &profile;
    int status = tvm_graph_session_run_nodes(session, 0, session->plan->node_count);
    session->context->profile = NULL;
    tvm_graph_session_leave(session);
    if (status == 0)
        status = write_report(session, &profile, result);
    tvm_profile_clear(&profile);
    return status;
}
