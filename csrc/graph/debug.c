/* The functions that TVM's debug executor has beyond the plain one: running node by node, looking
 * at any node's output, and measuring. Outputs are handed out as copies: operators that run later
 * reuse the memory. */
#include "graph/executor.h"

#include "base/checked.h"
#include "base/container.h"
#include "base/os.h"
#include "base/threads.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { NANOS_PER_MS = 1000000, WARM_UP_RUNS = 3 };

static struct tvm_graph_session *session_of(struct tvm_module *self) {
    return ((struct tvm_graph_executor *)self)->session;
}

/* Argument index: an integer from min to max. */
static int number_argument(const struct tvm_call *call, int32_t index, const char *what,
                           int64_t min, int64_t max, int64_t *out) {
    if (tvm_call_int(call, index, what, out))
        return -1;
    if (*out < min || *out > max)
        return tvm_raise(TVM_VALUE_ERROR,
                         "%s: %s: expected %" PRId64 " to %" PRId64 ", got %" PRId64, call->name,
                         what, min, max, *out);
    return 0;
}

/* Argument 0 is a node. */
static int node_argument(struct tvm_module *self, const struct tvm_call *call, uint32_t *out) {
    int64_t node;
    if (number_argument(call, 0, "node", 0, (int64_t)session_of(self)->plan->node_count - 1, &node))
        return -1;
    *out = (uint32_t)node;
    return 0;
}

/* The same, or its name: the first node's of that name. */
static int node_or_name(struct tvm_module *self, const struct tvm_call *call, uint32_t *out) {
    const struct tvm_graph_plan *plan = session_of(self)->plan;
    struct tvm_bytes name;
    if (call->count < 1 || !tvm_value_text(&call->args[0], &name))
        return node_argument(self, call, out);
    for (*out = 0; *out < plan->node_count; ++*out)
        if (tvm_graph_name_equal(plan->nodes[*out].name, name))
            return 0;
    return tvm_raise(TVM_NOT_FOUND_ERROR, "%s: the graph has no node called %.*s", call->name,
                     (int)(name.size < 200 ? name.size : 200), name.data);
}

/* Runs the graph up to a node; its first output is copied to the second argument, or returned. */
static int debug_get_output(struct tvm_module *self, const struct tvm_call *call,
                            struct tvm_value *result) {
    struct tvm_graph_session *session = session_of(self);
    const DLTensor *value = NULL;
    uint32_t node;
    if (tvm_call_check_count(call, 1, 2) || node_or_name(self, call, &node) ||
        (call->count == 2 && tvm_call_tensor(call, 1, "value", &value)) ||
        tvm_graph_session_enter(session))
        return -1;
    /* TVM takes the node's number for the entry's, which differ behind a node of two outputs. */
    uint32_t id = session->plan->nodes[node].first_entry;
    int status = tvm_graph_session_run_nodes(session, 0, node + 1);
    if (status == 0 && !value)
        status =
            tvm_value_from_tensor(&session->headers[id].dl, session->headers[id].dl.device, result);
    else if (status == 0 && (tvm_graph_session_check(session, "node", node, id, value) ||
                             tvm_tensor_copy(&session->headers[id].dl, value)))
        status = -1;
    tvm_graph_session_leave(session);
    return status ? tvm_raise_context("%s", call->name) : 0;
}

/* Runs what lies between the node that was executed last and this one; for an earlier node all from
 * the start, for the same one nothing. So, as in TVM, an input that is set in between counts from
 * the next passage on. */
static int execute_node(struct tvm_module *self, const struct tvm_call *call,
                        struct tvm_value *result) {
    struct tvm_graph_session *session = session_of(self);
    uint32_t node;
    int status = 0;
    (void)result;
    if (tvm_call_check_count(call, 1, 1) || node_argument(self, call, &node) ||
        tvm_graph_session_enter(session))
        return -1;
    uint32_t first = session->stepped <= node ? session->stepped : 0;
    if (session->stepped != node + 1) {
        status = tvm_graph_session_run_nodes(session, first, node + 1);
        session->stepped = status ? 0 : node + 1;
    }
    tvm_graph_session_leave(session);
    return status ? tvm_raise_context("%s", call->name) : 0;
}

/* Output (argument 1) of a node, copied to device. With executed, the node must be the one that was
 * executed last: the outputs of others may be overwritten. */
static int output_of_node(struct tvm_module *self, const struct tvm_call *call, bool executed,
                          struct tvm_value *result) {
    struct tvm_graph_session *session = session_of(self);
    int64_t index;
    uint32_t node;
    if (tvm_call_check_count(call, 2, 2) || node_argument(self, call, &node) ||
        number_argument(call, 1, "output", 0, (int64_t)session->plan->nodes[node].output_count - 1,
                        &index) ||
        tvm_graph_session_enter(session))
        return -1;
    uint32_t id = session->plan->nodes[node].first_entry + (uint32_t)index;
    DLDevice device = executed ? (DLDevice){kDLCPU, 0} : session->headers[id].dl.device;
    int status = 0;
    if (executed && session->stepped != node + 1)
        status =
            tvm_raise(TVM_VALUE_ERROR,
                      "node %u is not what was executed last: call execute_node(%u)", node, node);
    else if (tvm_graph_session_place_inputs(session) ||
             tvm_value_from_tensor(&session->headers[id].dl, device, result))
        status = -1;
    tvm_graph_session_leave(session);
    return status ? tvm_raise_context("%s", call->name) : 0;
}

static int get_node_output(struct tvm_module *self, const struct tvm_call *call,
                           struct tvm_value *result) {
    return output_of_node(self, call, true, result);
}

static int get_output_by_layer(struct tvm_module *self, const struct tvm_call *call,
                               struct tvm_value *result) {
    return output_of_node(self, call, false, result);
}

/* How an operator is measured: repeat times, each time number runs or, where those take less than
 * min_repeat_ms, more. */
struct method {
    int64_t number, repeat, min_repeat_ms;
    int64_t limit_zero_time_iterations; /* tries that measure 0 before it is left at that */
    int64_t cooldown_interval_ms;       /* pause after each repeats_to_cooldown repeats */
    int64_t repeats_to_cooldown;
};

/* Arguments first and following: TVM 0.6 to 0.8 have three, 0.9 five, and later ones six. */
static int method_arguments(const struct tvm_call *call, int32_t first, struct method *out) {
    *out = (struct method){.limit_zero_time_iterations = 100, .repeats_to_cooldown = 1};
    struct {
        const char *name;
        int64_t min;
        int64_t *value;
    } fields[] = {
        {"number", 1, &out->number},
        {"repeat", 1, &out->repeat},
        {"min_repeat_ms", 0, &out->min_repeat_ms},
        {"limit_zero_time_iterations", 0, &out->limit_zero_time_iterations},
        {"cooldown_interval_ms", 0, &out->cooldown_interval_ms},
        {"repeats_to_cooldown", 1, &out->repeats_to_cooldown},
    };
    int32_t count = call->count - first;
    if (count != 3 && count != 5 && count != 6)
        return tvm_raise(TVM_VALUE_ERROR,
                         "%s: expected 3, 5 or 6 numbers (number, repeat, min_repeat_ms, "
                         "[[limit_zero_time_iterations,] cooldown_interval_ms, "
                         "repeats_to_cooldown]), got %d",
                         call->name, count);
    for (int32_t i = 0; i < count; i++) {
        int32_t field = count == 5 && i >= 3 ? i + 1 : i;
        if (number_argument(call, first + i, fields[field].name, fields[field].min, INT32_MAX,
                            fields[field].value))
            return -1;
    }
    return 0;
}

static void pause_ms(int64_t ms) {
    struct timespec rest = {.tv_sec = (time_t)(ms / 1000),
                            .tv_nsec = (long)(ms % 1000 * NANOS_PER_MS)};
    while (nanosleep(&rest, &rest)) /* interrupted by a signal */
        ;
}

/* Nanoseconds that number runs of an operator take. */
static int time_step(const struct tvm_graph_session *session, const struct tvm_graph_step *step,
                     int64_t number, int64_t *nanos) {
    if (tvm_graph_step_sync(session, step))
        return -1;
    int64_t start = tvm_os_now();
    for (int64_t i = 0; i < number; i++)
        if (tvm_context_check_cancel() || tvm_graph_step_run(step))
            return -1;
    if (tvm_graph_step_sync(session, step))
        return -1;
    *nanos = tvm_os_now() - start;
    return 0;
}

/* Measures an operator: seconds of one run, in the mean of each of method->repeat repeats. */
static int measure(const struct tvm_graph_session *session, const struct tvm_graph_step *step,
                   const struct method *method, double *seconds) {
    int64_t number = method->number;
    double enough = (double)method->min_repeat_ms * NANOS_PER_MS;
    if (tvm_graph_step_run(step)) /* warms up */
        return -1;
    for (int64_t i = 0; i < method->repeat; i++) {
        int64_t nanos = 0, zeros = 0;
        do {
            if (nanos > 0) {
                double more = enough * (double)number / (double)nanos + 1;
                if (more < 1.6 * (double)number)
                    more = 1.6 * (double)number + 1;
                number = more < INT32_MAX ? (int64_t)more : INT32_MAX;
            }
            if (time_step(session, step, number, &nanos))
                return -1;
            zeros += nanos == 0;
        } while ((double)nanos < enough && number < INT32_MAX &&
                 zeros < method->limit_zero_time_iterations);
        seconds[i] = (double)nanos * 1e-9 / (double)number;
        if (method->cooldown_interval_ms > 0 && i % method->repeats_to_cooldown == 0)
            pause_ms(method->cooldown_interval_ms);
    }
    return 0;
}

/* Measures the operators of nodes first to end - 1: *seconds gets a malloc'ed row of method->repeat
 * numbers for each of these nodes, zero for those that are no operators. */
static int measure_nodes(struct tvm_graph_session *session, uint32_t first, uint32_t end,
                         const struct method *method, double **seconds) {
    size_t count;
    if (!tvm_size_mul(end - first, (size_t)method->repeat, &count) ||
        !(*seconds = calloc(count + 1, sizeof(**seconds))))
        return tvm_raise_out_of_memory();
    struct tvm_context_scope scope = tvm_context_enter(session->context);
    int status = 0;
    for (size_t i = 0; i < session->step_count && status == 0; i++) {
        const struct tvm_graph_step *step = &session->steps[i];
        if (step->node < first || step->node >= end)
            continue;
        double *row = *seconds + (step->node - first) * (size_t)method->repeat;
        if ((status = measure(session, step, method, row)))
            tvm_raise_context("node %u (%.200s)", step->node,
                              session->plan->nodes[step->node].name.data);
    }
    tvm_context_leave(scope);
    if (status)
        free(*seconds);
    return status;
}

/* The times of all nodes as text, as TVM up to 0.8 has it: the last repeat's, each with a comma. */
static int times_as_text(const double *seconds, uint32_t count, int64_t repeat,
                         bool in_microseconds, struct tvm_value *result) {
    size_t size;
    char *text = NULL;
    FILE *out = open_memstream(&text, &size);
    int64_t unit = in_microseconds ? 1000000 : 1000000000000;
    for (uint32_t i = 0; out && i < count; i++) {
        int64_t picos = (int64_t)(seconds[(i + 1) * (size_t)repeat - 1] * 1e12 + 0.5);
        /* Not as double: its point is a comma in some locales. */
        fprintf(out, "%" PRId64 ".%0*" PRId64 ",", picos / unit, in_microseconds ? 6 : 12,
                picos % unit);
    }
    return tvm_graph_text_end(out, &text, &size, result);
}

/* An int64 with the number of nodes, and the repeats' times of each. */
static int times_as_bytes(const double *seconds, uint32_t count, int64_t repeat,
                          struct tvm_value *result) {
    int64_t head = count;
    size_t nbytes = count * (size_t)repeat * sizeof(double); /* so many there are */
    char *bytes = malloc(sizeof(head) + nbytes);
    if (!bytes)
        return tvm_raise_out_of_memory();
    memcpy(bytes, &head, sizeof(head));
    memcpy(bytes + sizeof(head), seconds, nbytes);
    int status = tvm_value_from_text(TVM_TYPE_BYTES, bytes, sizeof(head) + nbytes, result);
    free(bytes);
    return status;
}

static int run_individual(struct tvm_module *self, const struct tvm_call *call,
                          struct tvm_value *result) {
    struct tvm_graph_session *session = session_of(self);
    uint32_t count = session->plan->node_count;
    struct method method;
    double *seconds;
    if (method_arguments(call, 0, &method) || tvm_graph_session_enter(session))
        return -1;
    int status = tvm_graph_session_run_nodes(session, 0, count) ||
                         measure_nodes(session, 0, count, &method, &seconds)
                     ? -1
                     : 0;
    tvm_graph_session_leave(session);
    if (status)
        return tvm_raise_context("%s", call->name);
    if (call->count == 3)
        status = times_as_text(seconds, count, method.repeat,
                               ((struct tvm_graph_executor *)self)->in_microseconds, result);
    else
        status = times_as_bytes(seconds, count, method.repeat, result);
    free(seconds);
    return status;
}

/* Measures one node. */
static int measure_node(struct tvm_module *self, const struct tvm_call *call,
                        const struct method *method, double **seconds) {
    struct tvm_graph_session *session = session_of(self);
    uint32_t node;
    if (node_argument(self, call, &node) || tvm_graph_session_enter(session))
        return -1;
    session->stepped = 0;
    int status = tvm_graph_session_place_inputs(session) ||
                         measure_nodes(session, node, node + 1, method, seconds)
                     ? -1
                     : 0;
    tvm_graph_session_leave(session);
    return status ? tvm_raise_context("%s", call->name) : 0;
}

/* The times of one node's repeats. */
static int run_individual_node(struct tvm_module *self, const struct tvm_call *call,
                               struct tvm_value *result) {
    struct method method;
    double *seconds;
    if (method_arguments(call, 1, &method) || measure_node(self, call, &method, &seconds))
        return -1;
    int status = tvm_value_from_text(TVM_TYPE_BYTES, (const char *)seconds,
                                     (size_t)method.repeat * sizeof(*seconds), result);
    free(seconds);
    return status;
}

/* TVM 0.5: the seconds that one run of a node takes. */
static int debug_run(struct tvm_module *self, const struct tvm_call *call,
                     struct tvm_value *result) {
    struct method method = {.number = 1, .repeat = 1, .repeats_to_cooldown = 1};
    double *seconds;
    if (tvm_call_check_count(call, 1, 1) || measure_node(self, call, &method, &seconds))
        return -1;
    *result = tvm_float(seconds[0]);
    free(seconds);
    return 0;
}

/* TVM returns an object, a Report, that only its own C++ and Python can look into. This is the JSON
 * text that the Report gives: a str, which TVM's Report.from_json reads again. */
static int profile(struct tvm_module *self, const struct tvm_call *call, struct tvm_value *result) {
    if (tvm_call_check_count(call, 0, 1))
        return -1;
    if (call->count == 1 && call->args[0].type_index != TVM_TYPE_NONE &&
        (call->args[0].type_index != TVM_TYPE_ARRAY ||
         ((struct tvm_array *)call->args[0].v_object)->size > 0))
        return tvm_raise(TVM_UNSUPPORTED_ERROR,
                         "%s: there are no metric collectors here: pass None", call->name);
    for (int i = 0; i < WARM_UP_RUNS; i++)
        if (tvm_graph_session_run(session_of(self)))
            return tvm_raise_context("%s", call->name);
    return tvm_graph_session_report(session_of(self), result) ? tvm_raise_context("%s", call->name)
                                                              : 0;
}

int tvm_graph_debug_get_function(struct tvm_module *self, const char *name,
                                 struct tvm_function **out) {
    static const struct tvm_module_method methods[] = {
        {"debug_get_output", debug_get_output},
        {"execute_node", execute_node},
        {"get_node_output", get_node_output},
        {"get_output_by_layer", get_output_by_layer},
        {"debug_run", debug_run},
        {"run_individual", run_individual},
        {"run_individual_node", run_individual_node},
        {"profile", profile},
        {"profile_rpc", profile},
        {NULL, NULL},
    };
    return tvm_module_get_method(self, methods, name, out);
}
