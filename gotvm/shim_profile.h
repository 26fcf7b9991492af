/* What the Go package asks for profiles, in the form of shim.h. */
#ifndef GOTVM_SHIM_PROFILE_H
#define GOTVM_SHIM_PROFILE_H

#include "shim_graph.h"

/* An operator of a profile, borrowed from that and from what ran. */
struct gotvm_operator {
    uintptr_t name, name_size;
    uintptr_t function, function_size;
    size_t input_count, output_count;
    size_t nbytes;
    int64_t start, end, device_time; /* nanoseconds */
    uintptr_t next;                  /* operator; 0: this is the last one */
};

/* A profile without operators; it is given back with gotvm_profile_free. */
struct gotvm_result gotvm_profile_new(void);
void gotvm_profile_free(uintptr_t profile);
/* What runs in context from now on, one run at a time, is measured for profile, which holds the
 * last run; 0 ends that. */
void gotvm_context_profile(uintptr_t context, uintptr_t profile);

/* Nanoseconds of the whole run. */
int64_t gotvm_profile_total(uintptr_t profile);
/* The first operator; 0: there is none. */
uintptr_t gotvm_profile_first(uintptr_t profile);
struct gotvm_operator gotvm_profile_operator(uintptr_t op);
/* Inputs, then outputs. */
struct gotvm_port gotvm_profile_tensor(uintptr_t op, size_t index);

#endif
