/* The inside of a session, for the sources of this folder. */
#ifndef TVM_GRAPH_SESSION_H
#define TVM_GRAPH_SESSION_H

#include "base/classic.h"
#include "base/profile.h"
#include "graph/plan.h"

#include <pthread.h>

/* What operators get for an entry: the same tensor in today's and in classic dtype codes. Its data
 * is repointed when inputs and outputs are bound. */
struct tvm_graph_header {
    DLTensor dl;
    DLTensor classic;
};

/* An argument of an operator that wants one dimension (flatten_data). */
struct tvm_graph_flat {
    struct tvm_graph_header header;
    int64_t count; /* the shape */
    uint32_t entry;
};

/* An operator with its arguments bound: compiled code and classic arguments, or any other function
 * and values, or neither for a copy. */
struct tvm_graph_step {
    TVMBackendPackedCFunc code;
    TVMValue *classic_args;
    int *classic_codes;
    struct tvm_function *function; /* owned */
    struct tvm_value *args;
    const struct tvm_graph_header *from, *to;
    int32_t count;
    uint32_t node;
};

/* An input's data is, in this order: bound memory, a shared tensor, the session's own storage. */
struct tvm_graph_input {
    struct tvm_tensor *shared; /* owned; parameters, never written to; changed under sharing */
    void *bound;               /* data, byte offset added */
    struct tvm_object *owner;  /* owned; keeps bound alive; NULL: the caller does */
    _Atomic bool is_bound;
    bool is_set;   /* own storage held a value that somebody gave */
    bool is_given; /* it is about to get one */
};

struct tvm_graph_output {
    DLTensor bound; /* byte offset added to data; only where is_bound */
    struct tvm_object *owner;
    bool is_bound;
    bool is_copied; /* to bound, after the run; else operators write there */
};

struct tvm_graph_session {
    struct tvm_object object;
    struct tvm_graph_plan *plan; /* owned */
    struct tvm_module *library;  /* owned */
    struct tvm_context *context; /* owned */
    DLDevice device;
    DLDevice *devices;                /* of each storage */
    struct tvm_storage **storages;    /* owned; inputs' only when they are needed */
    struct tvm_graph_header *headers; /* of each entry */
    struct tvm_graph_flat *flats;
    size_t flat_count;
    struct tvm_graph_step *steps;
    size_t step_count;
    struct tvm_value *arguments; /* what steps' arrays are cut from */
    struct tvm_graph_input *inputs;
    struct tvm_graph_output *outputs;
    uint32_t stepped;      /* nodes that execute_node has run since all of them ran */
    bool all_placed;       /* every input has data */
    _Atomic bool complete; /* every input has a value, as far as is known */
    _Atomic bool busy;
    pthread_mutex_t sharing; /* others may ask for what is shared at any time */
};

/* Taken by everything that reads or changes the session's data; BusyError when it is taken. */
int tvm_graph_session_enter(struct tvm_graph_session *session);
void tvm_graph_session_leave(struct tvm_graph_session *session);

/* Runs the operators of nodes first to end - 1. Between enter and leave. */
int tvm_graph_session_run_nodes(struct tvm_graph_session *session, uint32_t first, uint32_t end);
/* Runs one operator, in the current context. */
int tvm_graph_step_run(const struct tvm_graph_step *step);
/* Waits for the devices that the operator works on. */
int tvm_graph_step_sync(const struct tvm_graph_session *session, const struct tvm_graph_step *step);

/* The same as tvm_graph_step_run, measured for profile. */
int tvm_graph_step_profile(const struct tvm_graph_session *session,
                           const struct tvm_graph_step *step, struct tvm_profile *profile);

/* The device of a storage: the first of devices (at least one) that has its type. */
int tvm_graph_choose_device(const struct tvm_graph_plan *plan, uint32_t storage,
                            const DLDevice *devices, size_t count, DLDevice *out);
/* Allocates and zeroes a storage unless it is there. */
int tvm_graph_session_place(struct tvm_graph_session *session, uint32_t storage);
/* The same for all inputs that have no data. */
int tvm_graph_session_place_inputs(struct tvm_graph_session *session);
/* Points the arguments that are the bytes of root at data. */
void tvm_graph_session_point(struct tvm_graph_session *session, uint32_t root, void *data);
/* Gives input index the tensor: shared where it is on the right device, else copied. */
int tvm_graph_session_attach(struct tvm_graph_session *session, size_t index,
                             struct tvm_tensor *tensor);
/* Checks that value can stand for an entry; role, index and the entry's node are named. */
int tvm_graph_session_check(const struct tvm_graph_session *session, const char *role, size_t index,
                            uint32_t entry, const DLTensor *value);

#endif
