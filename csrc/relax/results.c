/* What functions give, as far as their code tells: the compiler writes down only the results that
 * are checked at run time. */
#include "relax/vm.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_CALLS = 10000, MOST_RESULTS = 100000, MOST_NESTING = 16, MOST_PASSES = 4 };

/* The results of one function. */
struct finder {
    const struct tvm_relax_executable *executable;
    const struct vm_function *function;
    uint32_t *writers; /* by register: the instruction that sets it; the return, if several do */
    int calls_left;    /* to be looked at: a forged tuple can be one of 2^16 */
    int *results_left; /* of all functions: one can give another's many times */
    int nesting;       /* of add_value */
    struct tvm_relax_info *results;
    size_t count;
    bool no_memory; /* the error is raised */
};

static bool is_written(const struct finder *finder, int32_t reg) {
    return finder->writers[reg] >= finder->function->start &&
           finder->writers[reg] < finder->function->end;
}

/* The only call that sets arg, if it is of the function name (of any for NULL). */
static const struct vm_instruction *writer(const struct finder *finder, int32_t arg,
                                           const char *name) {
    if (arg < 0 || !is_written(finder, arg))
        return NULL;
    const struct vm_instruction *call = &finder->executable->code[finder->writers[arg]];
    if (call->op != VM_CALL ||
        (name && strcmp(finder->executable->functions[call->target].name, name) != 0))
        return NULL;
    return call;
}

static const int32_t *args_of(const struct finder *finder, const struct vm_instruction *call) {
    return finder->executable->args + call->args;
}

/* NULL for a register. */
static const struct tvm_value *literal(const struct finder *finder, int32_t arg) {
    return arg < 0 ? &finder->executable->literals[~arg] : NULL;
}

static bool add_result(struct finder *finder, DLDataType dtype, const int64_t *shape, int ndim) {
    size_t nbytes = (size_t)ndim * sizeof(int64_t);
    if (*finder->results_left == 0)
        return false;
    --*finder->results_left;
    struct tvm_relax_info *results = finder->results;
    if ((finder->count & (finder->count - 1)) == 0) /* full: it grows at powers of two */
        results = realloc(results, (finder->count ? 2 * finder->count : 1) * sizeof(*results));
    if (results)
        finder->results = results;
    int64_t *dims = malloc(nbytes + 1);
    if (!results || !dims) {
        free(dims);
        tvm_raise_out_of_memory();
        finder->no_memory = true;
        return false;
    }
    if (ndim)
        memcpy(dims, shape, nbytes);
    results[finder->count++] = (struct tvm_relax_info){
        .name = {"", 0},
        .annotation = {"", 0},
        .is_tensor = true,
        .dtype = dtype,
        .ndim = ndim,
        .shape = dims,
    };
    return true;
}

static bool add_known(struct finder *finder, const struct tvm_relax_info *info) {
    return info->is_tensor && info->ndim >= 0 && (info->shape || info->ndim == 0) &&
           add_result(finder, info->dtype, info->shape, info->ndim);
}

/* The dimensions that a constant or make_shape gives. */
static bool read_shape(const struct finder *finder, int32_t arg, int64_t *dims, int *ndim) {
    const struct tvm_value *value = literal(finder, arg);
    const struct vm_instruction *call = writer(finder, arg, "vm.builtin.make_shape");
    if (value && value->type_index == TVM_TYPE_SHAPE) {
        const struct tvm_shape *shape = (const struct tvm_shape *)value->v_object;
        if (shape->size > TVM_MAX_NDIM)
            return false;
        *ndim = (int)shape->size;
        for (int i = 0; i < *ndim; i++)
            dims[i] = shape->data[i];
    } else if (call) { /* pairs of 0 and a number, or 1 and its slot in the shape heap: decode.c */
        const int32_t *args = args_of(finder, call);
        int64_t count = literal(finder, args[1])->v_int;
        if (count > TVM_MAX_NDIM)
            return false;
        *ndim = (int)count;
        for (int i = 0; i < *ndim; i++)
            dims[i] = literal(finder, args[2 + 2 * i])->v_int == 0
                          ? literal(finder, args[3 + 2 * i])->v_int
                          : -1;
    } else {
        return false;
    }
    return true;
}

static bool add_value(struct finder *finder, int32_t arg);

static bool add_allocated(struct finder *finder, const int32_t *args) {
    const struct tvm_value *dtype = literal(finder, args[3]);
    int64_t dims[TVM_MAX_NDIM];
    int ndim;
    return dtype && dtype->type_index == TVM_TYPE_DTYPE &&
           read_shape(finder, args[2], dims, &ndim) &&
           add_result(finder, dtype->v_dtype, dims, ndim);
}

static bool add_reshaped(struct finder *finder, const int32_t *args) {
    int64_t dims[TVM_MAX_NDIM];
    int ndim;
    size_t before = finder->count;
    if (!read_shape(finder, args[1], dims, &ndim) || !add_value(finder, args[0]) ||
        finder->count != before + 1)
        return false;
    struct tvm_relax_info *whole = &finder->results[--finder->count];
    free((void *)(uintptr_t)whole->shape);
    return add_result(finder, whole->dtype, dims, ndim);
}

static bool add_item(struct finder *finder, const int32_t *args) {
    const struct vm_instruction *tuple = writer(finder, args[0], "vm.builtin.make_tuple");
    const struct tvm_value *index = literal(finder, args[1]);
    return tuple && index && index->type_index == TVM_TYPE_INT && index->v_int >= 0 &&
           index->v_int < tuple->arg_count &&
           add_value(finder, args_of(finder, tuple)[index->v_int]);
}

/* What call gives. */
static bool add_call(struct finder *finder, const struct vm_instruction *call) {
    const struct vm_function *callee = &finder->executable->functions[call->target];
    const int32_t *args = args_of(finder, call);
    static const struct {
        const char *name;
        uint32_t least; /* arguments */
        bool (*add)(struct finder *, const int32_t *);
    } known[] = {
        {"vm.builtin.alloc_tensor", 4, add_allocated},
        {"vm.builtin.reshape", 2, add_reshaped},
        {"vm.builtin.tuple_getitem", 2, add_item},
    };
    if (callee->kind != VM_PACKED) {
        for (size_t i = 0; i < callee->result_count; i++)
            if (!add_known(finder, &callee->results[i]))
                return false;
        return callee->result_count > 0;
    }
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
        if (strcmp(callee->name, known[i].name) == 0)
            return call->arg_count >= known[i].least && known[i].add(finder, args);
    if (strcmp(callee->name, "vm.builtin.copy") == 0)
        return call->arg_count == 1 && add_value(finder, args[0]);
    if (strcmp(callee->name, "vm.builtin.make_tuple") != 0)
        return false;
    for (uint32_t i = 0; i < call->arg_count; i++)
        if (!add_value(finder, args[i]))
            return false;
    return true;
}

/* Adds a tensor, or those of a tuple; false where they are not known. */
static bool add_value(struct finder *finder, int32_t arg) {
    if (arg < 0) {
        const DLTensor *tensor = tvm_vm_tensor_of(literal(finder, arg));
        return tensor && add_result(finder, tensor->dtype, tensor->shape, tensor->ndim);
    }
    if (!is_written(finder, arg))
        return (uint32_t)arg < finder->function->param_count &&
               add_known(finder, &finder->function->infos[arg]);
    const struct vm_instruction *call = writer(finder, arg, NULL);
    if (!call || finder->nesting == MOST_NESTING || finder->calls_left-- == 0)
        return false;
    finder->nesting++;
    bool found = add_call(finder, call);
    finder->nesting--;
    return found;
}

/* The register that the function returns, -1 where several are; fills writers. */
static int32_t find_return(struct finder *finder) {
    const struct vm_function *function = finder->function;
    const struct vm_instruction *code = finder->executable->code;
    int32_t returned = -1;
    uint32_t at_return = function->end;
    for (uint32_t i = function->start; i < function->end; i++)
        if (code[i].op == VM_RETURN) {
            if (at_return != function->end && code[i].dst != returned)
                return -1;
            returned = code[i].dst;
            at_return = i;
        }
    for (uint32_t i = function->start; i < function->end; i++)
        if (code[i].op == VM_CALL && code[i].dst >= 0)
            finder->writers[code[i].dst] = is_written(finder, code[i].dst) ? at_return : i;
    return returned;
}

void tvm_vm_results_free(struct vm_function *function) {
    for (size_t i = 0; i < function->result_count; i++)
        free((void *)(uintptr_t)function->results[i].shape);
    free(function->results);
    function->results = NULL;
    function->result_count = 0;
}

static int find_results(const struct tvm_relax_executable *executable, uint32_t *writers,
                        int *results_left, struct vm_function *function) {
    struct finder finder = {.executable = executable,
                            .function = function,
                            .writers = writers,
                            .calls_left = MOST_CALLS,
                            .results_left = results_left};
    int32_t returned = find_return(&finder);
    bool found = returned >= 0 && add_value(&finder, returned);
    function->results = finder.results;
    function->result_count = finder.count;
    if (!found)
        tvm_vm_results_free(function);
    return finder.no_memory ? -1 : 0;
}

/* Of a function whose code does not tell, the one tensor that the compiler wrote down. */
static int take_text(struct vm_function *function) {
    struct tvm_relax_info *text = function->infos ? &function->infos[function->param_count] : NULL;
    if (function->results || !text || !text->is_tensor)
        return 0;
    function->results = malloc(sizeof(*text));
    if (!function->results)
        return tvm_raise_out_of_memory();
    function->result_count = 1;
    *function->results = *text;
    text->shape = NULL; /* has moved */
    return 0;
}

int tvm_vm_results_read(struct tvm_relax_executable *executable) {
    uint32_t registers = 0;
    for (uint32_t i = 0; i < executable->function_count; i++)
        if (executable->functions[i].register_count > registers)
            registers = executable->functions[i].register_count;
    uint32_t *writers = malloc((size_t)registers * sizeof(*writers) + 1);
    if (!writers)
        return tvm_raise_out_of_memory();
    int status = 0, results_left = MOST_RESULTS;
    /* Once more as long as functions that others call became known. */
    bool more = true;
    for (int pass = 0; status == 0 && more && pass < MOST_PASSES; pass++) {
        more = false;
        memset(writers, 0xff, (size_t)registers * sizeof(*writers));
        for (uint32_t i = 0; status == 0 && i < executable->function_count; i++) {
            struct vm_function *function = &executable->functions[i];
            if (function->kind != VM_BYTECODE || function->results)
                continue;
            status = find_results(executable, writers, &results_left, function);
            more = more || function->results;
        }
    }
    free(writers);
    for (uint32_t i = 0; status == 0 && i < executable->function_count; i++)
        status = take_text(&executable->functions[i]);
    return status;
}
