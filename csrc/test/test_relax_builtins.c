/* vm.builtin.* one by one, as forged bytecode could call them. */
#include "test/expect.h"
#include "test/module_call.h"
#include "test/relax_fixture.h"

#include <stdlib.h>

static const DLDevice cpu = {kDLCPU, 0};
static const DLDataType float32 = {TVM_DTYPE_FLOAT, 32, 1};

#define TEXT(text) tvm_raw_string(text)

#define BUILTIN(name, result, ...) GLOBAL_CALL("vm.builtin." name, result, __VA_ARGS__)

static struct tvm_value shape_of(size_t size, const int64_t *dims) {
    struct tvm_shape *shape;
    expect_ok(tvm_shape_new(dims, size, &shape));
    return tvm_from_object(shape);
}
#define SHAPE(...)                                                                                 \
    shape_of(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (int64_t[]){__VA_ARGS__})

static struct tvm_value dtype_value(DLDataType dtype) {
    return (struct tvm_value){.type_index = TVM_TYPE_DTYPE, .v_dtype = dtype};
}

static void test_builtin_shapes(void **state) {
    (void)state;
    struct tvm_relax_executable *executable = relax_open("tvm0.27/mlp", "model.so");
    struct tvm_relax_session *session = relax_session(executable);
    struct tvm_context_scope scope = tvm_context_enter(tvm_relax_session_context(session));
    struct tvm_value vm = tvm_opaque(session), heap, result, none = tvm_none();
    struct tvm_value x = relax_filled(3, 5, 1), shape = SHAPE(3, 5);
    const struct tvm_value n[] = {tvm_int(0), tvm_int(1), tvm_int(2), tvm_int(3)};
    struct tvm_value context = TEXT("context");
    expect_ok(BUILTIN("alloc_shape_heap", &heap, vm, n[2]));
    int64_t *slots = relax_tensor_of(&heap)->dl.data;
    assert_true(slots[0] == 0 && slots[1] == 0);
    expect_error(BUILTIN("alloc_shape_heap", &result, tvm_opaque(&vm), n[2]), TVM_VALUE_ERROR,
                 "expected the virtual machine that runs on this thread");
    expect_error(BUILTIN("alloc_shape_heap", &result, n[0], n[2]), TVM_VALUE_ERROR,
                 "expected the virtual machine");
    expect_error(BUILTIN("alloc_shape_heap", &result, vm, tvm_int(-1)), TVM_VALUE_ERROR, "size -1");
    if (SIZE_MAX == UINT32_MAX)
        expect_error(BUILTIN("alloc_shape_heap", &result, vm, tvm_int(1 << 29)), TVM_VALUE_ERROR,
                     "size 536870912");

    expect_ok(BUILTIN("match_shape", &result, x, heap, n[2], n[1], n[0], n[0], tvm_int(5),
                      context)); /* store, equal to 5 */
    assert_int_equal(slots[0], 3);
    expect_ok(BUILTIN("match_shape", &result, shape, heap, n[2], n[3], n[0], n[2], n[0], context));
    expect_error(BUILTIN("match_shape", &result, x, heap, n[2], n[0], n[2], n[2], n[0], context),
                 TVM_VALUE_ERROR, "context: expected 2 in dimension 0, got float32 [3, 5]");
    expect_error(BUILTIN("match_shape", &result, x, heap, n[2], n[2], n[0], n[3], n[0], context),
                 TVM_VALUE_ERROR, "expected 3 in dimension 1, got float32 [3, 5]");
    expect_error(BUILTIN("match_shape", &result, x, heap, n[1], n[2], n[0], context),
                 TVM_VALUE_ERROR, "expected 1 dimensions, got float32 [3, 5]");
    expect_error(BUILTIN("match_shape", &result, x, heap, n[2], n[1], n[2], n[2], n[0], context),
                 TVM_INDEX_ERROR, "slot 2 of a shape heap with 2");
    expect_error(BUILTIN("match_shape", &result, x, none, n[2], n[1], n[0], n[2], n[0], context),
                 TVM_INDEX_ERROR, "slot 0 of a shape heap with 0");
    expect_error(BUILTIN("match_shape", &result, x, x, n[2], n[1], n[0], n[2], n[0], context),
                 TVM_TYPE_ERROR, "argument 1 is no shape heap");
    expect_error(BUILTIN("match_shape", &result, x, heap, n[2], n[1], n[0]), TVM_VALUE_ERROR,
                 "2 dimensions in 5 arguments");
    expect_error(BUILTIN("match_shape", &result, n[0], heap, n[0], context), TVM_TYPE_ERROR,
                 "expected Shape, got int");

    expect_ok(BUILTIN("make_shape", &result, heap, n[3], n[1], n[0], n[0], tvm_int(9), n[0], n[0]));
    struct tvm_shape *made = (struct tvm_shape *)result.v_object;
    assert_true(made->size == 3 && made->data[0] == 3 && made->data[1] == 9 && made->data[2] == 0);
    tvm_value_clear(&result);
    expect_error(BUILTIN("make_shape", &result, heap, n[1], n[1], n[2]), TVM_INDEX_ERROR, "slot 2");
    expect_error(BUILTIN("make_shape", &result, heap, n[1], n[2], n[0]), TVM_VALUE_ERROR, "code 2");
    expect_ok(BUILTIN("make_prim_value", &result, heap, n[1], n[0]));
    assert_int_equal(result.v_int, 3);
    expect_ok(BUILTIN("match_prim_value", &result, n[3], heap, n[3], n[0], context));
    expect_error(BUILTIN("match_prim_value", &result, n[2], heap, n[3], n[0], context),
                 TVM_VALUE_ERROR, "context: expected 3 instead of 2");
    expect_ok(BUILTIN("match_prim_value", &result, tvm_int(8), heap, n[1], n[1], context));
    assert_int_equal(slots[1], 8);

    expect_ok(BUILTIN("shape_of", &result, x));
    assert_int_equal(((struct tvm_shape *)result.v_object)->data[1], 5);
    tvm_value_clear(&result);
    expect_ok(BUILTIN("tensor_to_shape", &result, heap));
    assert_int_equal(((struct tvm_shape *)result.v_object)->data[1], 8);
    tvm_value_clear(&result);
    expect_error(BUILTIN("tensor_to_shape", &result, x), TVM_VALUE_ERROR, "one dimension");
    tvm_value_clear(&heap);
    /* its memory is used again */
    expect_ok(BUILTIN("alloc_shape_heap", &heap, vm, n[2]));
    assert_ptr_equal(relax_tensor_of(&heap)->dl.data, slots);
    assert_true(slots[0] == 0 && slots[1] == 0);
    tvm_value_clear(&heap);
    tvm_value_clear(&x);
    tvm_value_clear(&shape);
    tvm_context_leave(scope);
    tvm_object_release((struct tvm_object *)session);
    tvm_object_release((struct tvm_object *)executable);
}

/* Whatever is not just a row of int64 that the processor can read where it is. */
static void test_no_shape_heap(void **state) {
    (void)state;
    int64_t slots[] = {5, 6, 7, 8}, dims[] = {2, 1}, gaps[] = {2, 1};
    DLTensor heap = {
        .data = slots, .device = cpu, .ndim = 1, .dtype = {TVM_DTYPE_INT, 64, 1}, .shape = dims};
    DLTensor odd[] = {heap, heap, heap, heap, heap, heap, heap, heap, heap};
    struct tvm_value result, arg = {.type_index = TVM_TYPE_DLTENSOR_PTR, .v_ptr = &heap};
    expect_ok(BUILTIN("make_prim_value", &result, arg, tvm_int(1), tvm_int(1)));
    assert_int_equal(result.v_int, 6);
    odd[0].device.device_type = kDLOpenCL;
    odd[1].ndim = 2;
    odd[2].dtype.code = TVM_DTYPE_UINT;
    odd[3].dtype.bits = 32;
    odd[4].dtype.lanes = 2;
    odd[5].byte_offset = 8;
    odd[6].data = NULL;
    odd[7].data = (char *)slots + 4;
    odd[8].strides = gaps;
    for (size_t i = 0; i < COUNT(odd); i++) {
        arg.v_ptr = &odd[i];
        expect_error(BUILTIN("make_prim_value", &result, arg, tvm_int(1), tvm_int(1)),
                     TVM_TYPE_ERROR, "argument 0 is no shape heap");
    }
}

static void test_builtin_checks(void **state) {
    (void)state;
    struct tvm_value x = relax_filled(3, 5, 1), shape = SHAPE(3, 5), result, none = tvm_none(),
                     tuple;
    struct tvm_value context = TEXT("context");
    struct tvm_value half = dtype_value((DLDataType){TVM_DTYPE_FLOAT, 16, 1});
    struct tvm_value single = dtype_value(float32);
    struct tvm_value handle = dtype_value((DLDataType){TVM_DTYPE_HANDLE, 0, 0});
    struct tvm_value whole = dtype_value((DLDataType){TVM_DTYPE_INT, 64, 1});
    struct tvm_value named = TEXT("ErrorContext(fn=f, loc=param[2], param=w, "
                                  "annotation=R.Tensor((4, n), dtype=\"int8\")) ");
    expect_ok(BUILTIN("check_tensor_info", &result, x, tvm_int(2), single, context));
    /* a context without an end, in bytes that no NUL follows */
    static const char cut[] = "ErrorContext(fn=f, loc=param[12";
    char *unended = malloc(sizeof(cut) - 1);
    memcpy(unended, cut, sizeof(cut) - 1);
    struct tvm_bytes bytes = {unended, sizeof(cut) - 1};
    struct tvm_value by_bytes = {.type_index = TVM_TYPE_BYTES_PTR, .v_ptr = &bytes};
    expect_error(BUILTIN("check_tensor_info", &result, x, tvm_int(3), single, by_bytes),
                 TVM_VALUE_ERROR, "f: argument 12 (): expected a tensor of 3 dimensions");
    free(unended);
    expect_ok(BUILTIN("check_tensor_info", &result, x, tvm_int(-1), none, context));
    expect_ok(BUILTIN("check_tensor_info", &result, x, tvm_int(2), handle, context));
    expect_ok(BUILTIN("check_tensor_info", &result, x, tvm_int(2), context));
    expect_error(BUILTIN("check_tensor_info", &result, x, tvm_int(3), single, context),
                 TVM_VALUE_ERROR, "context: expected a tensor of 3 dimensions, got float32 [3, 5]");
    expect_error(BUILTIN("check_tensor_info", &result, x, tvm_int(2), half, context),
                 TVM_TYPE_ERROR, "context: expected a tensor of float16, got float32 [3, 5]");
    expect_error(BUILTIN("check_tensor_info", &result, shape, tvm_int(2), half, named),
                 TVM_TYPE_ERROR,
                 "f: argument 2 (w): expected R.Tensor((4, n), dtype=\"int8\"), got Shape [3, 5]");
    expect_ok(BUILTIN("check_shape_info", &result, shape, tvm_int(2), context));
    expect_ok(BUILTIN("check_shape_info", &result, shape, tvm_int(-1), context));
    expect_error(BUILTIN("check_shape_info", &result, shape, tvm_int(1), context), TVM_VALUE_ERROR,
                 "context: expected a shape of 1 dimensions, got Shape [3, 5]");
    expect_error(BUILTIN("check_shape_info", &result, x, tvm_int(1), context), TVM_TYPE_ERROR,
                 "expected a shape, got float32");
    expect_ok(BUILTIN("make_tuple", &tuple, x, shape, TEXT("text that is long")));
    expect_ok(BUILTIN("check_tuple_info", &result, tuple, tvm_int(3), context));
    expect_error(BUILTIN("check_tuple_info", &result, tuple, tvm_int(2), context), TVM_VALUE_ERROR,
                 "expected a tuple of 2, got a tuple of 3");
    expect_error(BUILTIN("check_tuple_info", &result, x, tvm_int(2), context), TVM_TYPE_ERROR,
                 "expected a tuple of 2, got float32 [3, 5]");
    expect_ok(BUILTIN("check_prim_value_info", &result, tvm_int(4), whole, context));
    expect_ok(BUILTIN("check_prim_value_info", &result, tvm_float(4), single, context));
    expect_ok(BUILTIN("check_prim_value_info", &result, tvm_int(4), handle, context));
    expect_error(BUILTIN("check_prim_value_info", &result, tvm_float(4), whole, context),
                 TVM_TYPE_ERROR, "context: expected int64, got float");
    expect_error(BUILTIN("check_prim_value_info", &result, x, handle, context), TVM_TYPE_ERROR,
                 "got float32 [3, 5]");
    expect_error(BUILTIN("check_func_info", &result, x, context), TVM_TYPE_ERROR,
                 "context: expected a function, got float32 [3, 5]");
    expect_ok(BUILTIN("check_string_info", &result, TEXT("short"), context));
    expect_ok(BUILTIN("check_string_info", &result, TEXT("text that is long"), none));
    expect_error(BUILTIN("check_string_info", &result, tvm_int(4), context), TVM_TYPE_ERROR,
                 "context: expected a string, got int");
    expect_ok(BUILTIN("tuple_getitem", &result, tuple, tvm_int(1)));
    assert_ptr_equal(result.v_object, shape.v_object);
    tvm_value_clear(&result);
    expect_error(BUILTIN("tuple_getitem", &result, tuple, tvm_int(3)), TVM_INDEX_ERROR,
                 "item 3 of 3");
    expect_error(BUILTIN("tuple_getitem", &result, tuple, tvm_int(-1)), TVM_INDEX_ERROR,
                 "item -1 of 3");
    /* somebody else holds the tuple first */
    struct tvm_array *items = (struct tvm_array *)tuple.v_object;
    tvm_object_retain(tuple.v_object);
    expect_ok(BUILTIN("tuple_reset_item", &result, tuple, tvm_int(1)));
    assert_ptr_equal(items->items[1].v_object, shape.v_object);
    tvm_object_release(tuple.v_object);
    expect_ok(BUILTIN("tuple_reset_item", &result, tuple, tvm_int(1)));
    assert_int_equal(items->items[1].type_index, TVM_TYPE_NONE);
    tvm_value_clear(&tuple);
    tvm_value_clear(&x);
    tvm_value_clear(&shape);
}

static void test_builtin_memory(void **state) {
    (void)state;
    struct tvm_relax_executable *executable = relax_open("tvm0.27/mlp", "model.so");
    struct tvm_relax_session *session = relax_session(executable);
    struct tvm_relax_session *second = relax_session(executable);
    struct tvm_context_scope scope = tvm_context_enter(tvm_relax_session_context(session));
    struct tvm_value vm = tvm_opaque(session), storage, tensor, result, view;
    struct tvm_value bytes = dtype_value((DLDataType){TVM_DTYPE_UINT, 8, 1});
    struct tvm_value single = dtype_value(float32), global = TEXT("global");
    struct tvm_value size = SHAPE(256), shape = SHAPE(4, 8), zero = tvm_int(0);
    expect_ok(BUILTIN("alloc_storage", &storage, vm, size, zero, bytes, global));
    expect_error(BUILTIN("alloc_storage", &result, vm, size, tvm_int(1), bytes, global),
                 TVM_VALUE_ERROR, "device 1 of 1");
    struct tvm_value negative = SHAPE(-1), huge = SHAPE(INT64_MAX);
    expect_error(BUILTIN("alloc_storage", &result, vm, negative, zero, bytes, global),
                 TVM_VALUE_ERROR, "the shape has no size");
    expect_error(BUILTIN("alloc_storage", &result, vm, huge, zero, single, global), TVM_VALUE_ERROR,
                 "the shape has no size");
    expect_ok(BUILTIN("alloc_tensor", &tensor, storage, tvm_int(128), shape, single));
    const DLTensor *dl = &relax_tensor_of(&tensor)->dl;
    assert_true((uintptr_t)dl->data % 64 == 0 && dl->byte_offset == 0 && dl->shape[1] == 8);
    expect_error(BUILTIN("alloc_tensor", &result, storage, tvm_int(192), shape, single, global),
                 TVM_VALUE_ERROR, "needs 128 bytes, storage has 256");
    expect_error(BUILTIN("alloc_tensor", &result, storage, tvm_int(4), shape, single),
                 TVM_VALUE_ERROR, "at byte 4: expected");
    expect_error(BUILTIN("alloc_tensor", &result, storage, tvm_int(-64), shape, single),
                 TVM_VALUE_ERROR, "byte offset -64");
    const struct tvm_value wide = tvm_int((INT64_C(1) << 32) + 64);
    expect_error(BUILTIN("alloc_tensor", &result, storage, wide, shape, single), TVM_VALUE_ERROR,
                 "4294967360");
    expect_error(BUILTIN("alloc_tensor", &result, tensor, zero, shape, single), TVM_TYPE_ERROR,
                 "expected storage, got Tensor");
    struct tvm_context_scope inner = tvm_context_enter(tvm_relax_session_context(second));
    expect_error(BUILTIN("alloc_tensor", &result, storage, zero, shape, single), TVM_VALUE_ERROR,
                 "another session");
    expect_error(BUILTIN("alloc_storage", &result, vm, size, zero, bytes, global), TVM_VALUE_ERROR,
                 "expected the virtual machine");
    tvm_context_leave(inner);

    struct tvm_value flat = SHAPE(32), wrong = SHAPE(31), few = SHAPE(2), tail = SHAPE(16);
    for (int i = 0; i < 32; i++)
        ((float *)dl->data)[i] = (float)i;
    expect_ok(BUILTIN("reshape", &view, tensor, flat));
    assert_ptr_equal(relax_floats(&view), dl->data);
    assert_int_equal(relax_tensor_of(&view)->dl.ndim, 1);
    expect_error(BUILTIN("reshape", &result, tensor, wrong), TVM_VALUE_ERROR,
                 "[4, 8] has not as many elements as [31]");
    tvm_value_clear(&view);
    /* lent memory is copied: views would outlive it */
    relax_tensor_of(&tensor)->storage->lent = true;
    expect_ok(BUILTIN("reshape", &view, tensor, flat));
    assert_ptr_not_equal(relax_floats(&view), dl->data);
    assert_memory_equal(relax_floats(&view), dl->data, 32 * sizeof(float));
    tvm_value_clear(&view);
    expect_ok(GLOBAL_CALL("runtime.TVMTensorCreateView", &view, tensor, tail, single, tvm_int(60)));
    assert_true(relax_tensor_of(&view)->dl.byte_offset == 0 && relax_floats(&view)[0] == 15);
    tvm_value_clear(&view);
    relax_tensor_of(&tensor)->storage->lent = false;
    /* aligned views begin at their data; others need a copy */
    expect_ok(GLOBAL_CALL("runtime.TVMTensorCreateView", &view, tensor, tail, single, tvm_int(64)));
    assert_true(relax_tensor_of(&view)->dl.byte_offset == 0 && relax_floats(&view)[0] == 16);
    expect_ok(BUILTIN("ensure_zero_offset", &result, view));
    assert_ptr_equal(result.v_object, view.v_object);
    tvm_value_clear(&result);
    tvm_value_clear(&view);
    expect_ok(GLOBAL_CALL("runtime.TVMTensorCreateView", &view, tensor, few, single, tvm_int(12)));
    assert_int_equal(relax_tensor_of(&view)->dl.byte_offset, 128 + 12);
    expect_ok(BUILTIN("ensure_zero_offset", &result, view));
    assert_true(relax_tensor_of(&result)->dl.byte_offset == 0 && relax_floats(&result)[0] == 3 &&
                relax_floats(&result)[1] == 4);
    tvm_value_clear(&result);
    tvm_value_clear(&view);
    expect_error(
        GLOBAL_CALL("runtime.TVMTensorCreateView", &result, tensor, tail, single, tvm_int(68)),
        TVM_VALUE_ERROR, "64 bytes at byte 68 of a tensor with 128");
    expect_error(
        GLOBAL_CALL("runtime.TVMTensorCreateView", &result, tensor, tail, single, tvm_int(-4)),
        TVM_VALUE_ERROR, "at byte -4");
    expect_error(GLOBAL_CALL("runtime.TVMTensorCreateView", &result, tensor, tail, single, wide),
                 TVM_VALUE_ERROR, "at byte 4294967360 of a tensor with 128");
    expect_ok(BUILTIN("to_device", &result, tensor, tvm_int(kDLCPU), zero));
    assert_memory_equal(relax_floats(&result), dl->data, 128);
    assert_ptr_not_equal(relax_floats(&result), dl->data);
    tvm_value_clear(&result);
    expect_ok(BUILTIN("copy", &result, tensor));
    assert_ptr_equal(result.v_object, tensor.v_object);
    tvm_value_clear(&result);
    struct tvm_value all[] = {storage, tensor, size, shape, negative, huge, flat, wrong, few, tail};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        tvm_value_clear(&all[i]);
    tvm_context_leave(scope);
    tvm_object_release((struct tvm_object *)second);
    tvm_object_release((struct tvm_object *)session);
    tvm_object_release((struct tvm_object *)executable);
}

/* Storage of nbytes, and where it is. */
static const void *allocate(struct tvm_value vm, int64_t nbytes, struct tvm_value *storage) {
    struct tvm_value size = SHAPE(nbytes), empty = SHAPE(0), tensor;
    struct tvm_value bytes = dtype_value((DLDataType){TVM_DTYPE_UINT, 8, 1});
    expect_ok(BUILTIN("alloc_storage", storage, vm, size, tvm_int(0), bytes, TEXT("global")));
    expect_ok(BUILTIN("alloc_tensor", &tensor, *storage, tvm_int(0), empty, bytes));
    const void *data = relax_tensor_of(&tensor)->dl.data;
    tvm_value_clear(&tensor);
    tvm_value_clear(&size);
    tvm_value_clear(&empty);
    return data;
}

/* Whom memory serves that is given back. */
static void test_memory_again(void **state) {
    (void)state;
    enum { KIB = 1 << 10 };
    struct tvm_relax_executable *executable = relax_open("tvm0.27/mlp", "model.so");
    struct tvm_relax_session *session = relax_session(executable);
    struct tvm_context_scope scope = tvm_context_enter(tvm_relax_session_context(session));
    struct tvm_value vm = tvm_opaque(session), first, second, third;
    const void *large = allocate(vm, 1024 * KIB, &first);
    const void *small = allocate(vm, 64 * KIB, &second);
    assert_ptr_not_equal(allocate(vm, 1, &third), small); /* which is in use */
    tvm_value_clear(&first);
    tvm_value_clear(&second);
    /* the least that is enough; what is large not those who need much less */
    assert_ptr_equal(allocate(vm, 2, &first), small);
    assert_ptr_not_equal(allocate(vm, 256 * KIB - 1, &second), large);
    tvm_value_clear(&second);
    assert_ptr_equal(allocate(vm, 256 * KIB, &second), large);
    tvm_value_clear(&first);
    tvm_value_clear(&second);
    /* what is too small makes room: the largest of it */
    int64_t live = tvm_object_live_count();
    allocate(vm, 2048 * KIB, &first);
    assert_int_equal(tvm_object_live_count(), live);
    assert_ptr_equal(allocate(vm, 64 * KIB, &second), small);
    tvm_value_clear(&first);
    tvm_value_clear(&second);
    tvm_value_clear(&third);
    tvm_context_leave(scope);
    tvm_object_release((struct tvm_object *)session);
    tvm_object_release((struct tvm_object *)executable);
}

static void test_unsigned_shape(void **state) {
    (void)state;
    static const struct {
        DLDataType dtype;
        uint32_t bits;
        int64_t expected;
    } cases[] = {
        {{TVM_DTYPE_UINT, 8, 1}, 200, 200},
        {{TVM_DTYPE_UINT, 16, 1}, 0xfffe, 0xfffe},
        {{TVM_DTYPE_UINT, 32, 1}, 0xfffffffe, 0xfffffffe},
        {{TVM_DTYPE_INT, 8, 1}, 100, 100},
    };
    struct tvm_value result;
    struct tvm_tensor *tensor;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        expect_ok(tvm_tensor_empty((int64_t[]){1}, 1, cases[i].dtype, cpu, &tensor));
        memcpy(tensor->dl.data, &cases[i].bits, tvm_dtype_nbytes(cases[i].dtype));
        expect_ok(BUILTIN("tensor_to_shape", &result, tvm_from_object(tensor)));
        assert_int_equal(((struct tvm_shape *)result.v_object)->data[0], cases[i].expected);
        tvm_value_clear(&result);
        tvm_object_release(&tensor->object);
    }
}

static void test_read_if_cond(void **state) {
    (void)state;
    static const struct {
        DLDataType dtype;
        uint64_t bits;
        int64_t expected;
    } cases[] = {
        {{TVM_DTYPE_BOOL, 8, 1}, 1, 1},          {{TVM_DTYPE_BOOL, 8, 1}, 0, 0},
        {{TVM_DTYPE_INT, 16, 1}, 0x100, 1},      {{TVM_DTYPE_INT, 32, 1}, 0x10000, 1},
        {{TVM_DTYPE_INT, 64, 1}, 1ull << 40, 1}, {{TVM_DTYPE_UINT, 8, 1}, 0x80, 1},
    };
    struct tvm_value result;
    struct tvm_tensor *tensor;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        expect_ok(tvm_tensor_empty(NULL, 0, cases[i].dtype, cpu, &tensor));
        memcpy(tensor->dl.data, &cases[i].bits, tvm_dtype_nbytes(cases[i].dtype));
        expect_ok(BUILTIN("read_if_cond", &result, tvm_from_object(tensor)));
        assert_true(result.type_index == TVM_TYPE_BOOL && result.v_int == cases[i].expected);
        tvm_object_release(&tensor->object);
    }
    expect_ok(BUILTIN("read_if_cond", &result, tvm_int(0)));
    assert_int_equal(result.v_int, 0);
    expect_ok(tvm_tensor_empty((int64_t[]){0}, 1, float32, cpu, &tensor));
    expect_error(BUILTIN("read_if_cond", &result, tvm_from_object(tensor)), TVM_VALUE_ERROR,
                 "the condition has no element");
    tvm_object_release(&tensor->object);
    expect_ok(tvm_tensor_empty(NULL, 0, float32, cpu, &tensor));
    expect_error(BUILTIN("read_if_cond", &result, tvm_from_object(tensor)), TVM_TYPE_ERROR,
                 "a tensor of float32: expected bool or int");
    tvm_object_release(&tensor->object);
}

/* (a, b, c): a + 10 b + 100 c */
static int digits(void *self, const struct tvm_value *args, int32_t count,
                  struct tvm_value *result) {
    int64_t sum = 0, factor = 1;
    (void)self;
    for (int32_t i = 0; i < count; i++, factor *= 10)
        sum += args[i].v_int * factor;
    *result = tvm_int(sum);
    return 0;
}

static void test_call_tir_dyn(void **state) {
    (void)state;
    struct tvm_function *function;
    struct tvm_value result, shape = SHAPE(7, 3), none = shape_of(0, NULL);
    expect_ok(tvm_function_new(digits, NULL, NULL, &function));
    struct tvm_value callee = tvm_from_object(function);
    expect_ok(BUILTIN("call_tir_dyn", &result, callee, tvm_int(1), shape));
    assert_int_equal(result.v_int, 371);
    expect_ok(BUILTIN("call_tir_dyn", &result, callee, none));
    assert_int_equal(result.v_int, 0);
    expect_error(BUILTIN("call_tir_dyn", &result, callee, tvm_int(1)), TVM_TYPE_ERROR,
                 "expected Shape, got int");
    expect_error(BUILTIN("call_tir_dyn", &result, tvm_int(1), shape), TVM_TYPE_ERROR,
                 "expected Function, got int");
    expect_error(BUILTIN("make_closure", &result, callee), TVM_TYPE_ERROR,
                 "expected a closure, got Function");
    tvm_value_clear(&shape);
    tvm_value_clear(&none);
    tvm_object_release(&function->object);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_builtin_shapes), cmocka_unit_test(test_builtin_checks),
        cmocka_unit_test(test_no_shape_heap),  cmocka_unit_test(test_unsigned_shape),
        cmocka_unit_test(test_builtin_memory), cmocka_unit_test(test_memory_again),
        cmocka_unit_test(test_read_if_cond),   cmocka_unit_test(test_call_tir_dyn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
