/* Measuring the operators of a run. */
#include "graph/executor.h"

#include "base/checked.h"
#include "base/os.h"
#include "base/threads.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct collector {
    struct tvm_profile_hook hook;
    struct tvm_graph_time *next;
    int64_t begin;
};

static void record(struct tvm_profile_hook *self, uint32_t index, int64_t start, int64_t end) {
    struct collector *collector = (struct collector *)self;
    *collector->next++ =
        (struct tvm_graph_time){index, start - collector->begin, end - collector->begin};
}

size_t tvm_graph_session_operator_count(const struct tvm_graph_session *session) {
    return session->step_count;
}

int tvm_graph_session_profile(struct tvm_graph_session *session, struct tvm_graph_time *times,
                              int64_t *total) {
    struct collector collector = {.hook = {record}, .next = times, .begin = tvm_os_now()};
    if (tvm_graph_session_enter(session))
        return -1;
    session->context->profile = &collector.hook;
    int status = tvm_graph_session_run_nodes(session, 0, session->plan->node_count);
    session->context->profile = NULL;
    *total = tvm_os_now() - collector.begin;
    tvm_graph_session_leave(session);
    return status;
}

struct tvm_graph_operator_info tvm_graph_plan_operator(const struct tvm_graph_plan *plan,
                                                       uint32_t index) {
    const struct tvm_graph_node *node = &plan->nodes[index];
    size_t nbytes = 0;
    for (uint32_t k = 0; k < node->input_count + node->output_count; k++)
        if (!tvm_size_add(nbytes, plan->entries[tvm_graph_node_argument(node, k)].nbytes, &nbytes))
            nbytes = SIZE_MAX;
    return (struct tvm_graph_operator_info){.name = node->name,
                                            .function = node->function,
                                            .input_count = node->input_count,
                                            .output_count = node->output_count,
                                            .nbytes = nbytes};
}

struct tvm_graph_tensor_info tvm_graph_plan_argument(const struct tvm_graph_plan *plan,
                                                     uint32_t node, size_t index) {
    uint32_t id = tvm_graph_node_argument(&plan->nodes[node], (uint32_t)index);
    const struct tvm_graph_entry *entry = &plan->entries[id];
    return (struct tvm_graph_tensor_info){.name = plan->nodes[entry->node].name,
                                          .dtype = entry->dtype,
                                          .shape = entry->shape,
                                          .ndim = entry->ndim};
}

int tvm_graph_text_end(FILE *out, char **text, size_t *size, struct tvm_value *result) {
    bool failed = !out || ferror(out);
    if (out && fclose(out))
        failed = true;
    int status = failed ? tvm_raise_out_of_memory(0)
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

static void write_operator(FILE *out, const struct tvm_graph_session *session,
                           const struct tvm_graph_time *time, int64_t total) {
    const struct tvm_graph_node *node = &session->plan->nodes[time->node];
    char dtype[TVM_DTYPE_TEXT_SIZE], shape[TVM_SHAPE_TEXT_SIZE];
    int64_t nanos = time->end - time->start;
    int share = (int)((double)nanos * 1e5 / (double)(total + !total));
    fprintf(out, "{");
    write_row(out, node->function.data, session->headers[node->first_entry].dl.device, nanos);
    fprintf(out,
            ",\"Percent\":{\"percent\":%d.%03d},"
            "\"Argument Shapes\":{\"string\":\"",
            share / 1000, share % 1000);
    for (uint32_t k = 0; k < node->input_count + node->output_count; k++) {
        const DLTensor *tensor = &session->headers[tvm_graph_node_argument(node, k)].dl;
        fprintf(out, "%s%s%s", k ? ", " : "", tvm_dtype_print(tensor->dtype, dtype),
                tvm_shape_print(tensor->shape, tensor->ndim, shape, sizeof(shape)));
    }
    fprintf(out, "\"}}");
}

static int write_report(const struct tvm_graph_session *session, const struct tvm_graph_time *times,
                        int64_t total, struct tvm_value *result) {
    int threads = session->context->thread_limit ? session->context->thread_limit : tvm_pool_size();
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return tvm_graph_text_end(out, &text, &size, result);
    fprintf(out, "{\"calls\":[");
    for (size_t i = 0; i < session->step_count; i++) {
        fprintf(out, "%s", i ? "," : "");
        write_operator(out, session, &times[i], total);
    }
    fprintf(out, "],\"device_metrics\":{\"");
    write_device(out, session->device);
    fprintf(out, "\":{");
    write_row(out, "Total", session->device, total);
    fprintf(out,
            "}},\"configuration\":{\"Executor\":{\"string\":\"Graph\"},"
            "\"Number of threads\":{\"count\":%d}}}",
            threads);
    return tvm_graph_text_end(out, &text, &size, result);
}

int tvm_graph_session_report(struct tvm_graph_session *session, struct tvm_value *result) {
    int64_t total;
    struct tvm_graph_time *times = calloc(session->step_count + 1, sizeof(*times));
    if (!times)
        return tvm_raise_out_of_memory(session->step_count * sizeof(*times));
    int status = tvm_graph_session_profile(session, times, &total);
    if (status == 0)
        status = write_report(session, times, total, result);
    free(times);
    return status;
}
