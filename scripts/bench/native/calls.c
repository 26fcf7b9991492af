/* A library of functions that do nothing and return nothing, in the form of compiled ones: for
 * measuring calls. */
void *__tvm_module_ctx;

#define FUNCTION(name)                                                                             \
    int name(void *args, int *codes, int count, void *result, int *result_code, void *resource);   \
    int name(void *args, int *codes, int count, void *result, int *result_code, void *resource) {  \
        (void)args, (void)codes, (void)count, (void)result, (void)result_code, (void)resource;     \
        return 0;                                                                                  \
    }

FUNCTION(no_arguments)
FUNCTION(three_ints)
FUNCTION(three_arrays)
