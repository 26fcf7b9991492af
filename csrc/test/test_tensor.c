/* Storage, tensors, DLPack, devices. */
#include "base/tensor.h"
#include "base/threads.h"
#include "device/cpu.h"
#include "test/expect.h"

#include <stdio.h>

static const DLDevice cpu = {kDLCPU, 0};
static const DLDataType float32 = {TVM_DTYPE_FLOAT, 32, 1};
static const DLDataType boolean = {TVM_DTYPE_BOOL, 8, 1};

/* Storage and tensors */

static void test_empty(void **state) {
    (void)state;
    int64_t live = tvm_object_live_count();
    int64_t shape[] = {2, 3};
    struct tvm_tensor *tensor;
    expect_ok(tvm_tensor_empty(shape, 2, boolean, (DLDevice){kDLCPU, 3}, &tensor));
    shape[0] = 99; /* it was copied */
    assert_int_equal(tensor->object.type_index, TVM_TYPE_TENSOR);
    assert_int_equal((uintptr_t)tensor->dl.data % TVM_ALIGNMENT, 0);
    assert_int_equal(tensor->dl.ndim, 2);
    assert_int_equal(tensor->dl.shape[0], 2);
    assert_int_equal(tensor->dl.shape[1], 3);
    assert_null(tensor->dl.strides);
    assert_int_equal(tensor->dl.byte_offset, 0);
    assert_int_equal(tensor->dl.device.device_id, 3);
    assert_true(tvm_dtype_equal(tensor->dl.dtype, (DLDataType){TVM_DTYPE_BOOL, 8, 1}));
    assert_true(tvm_dtype_equal(tensor->classic.dtype, (DLDataType){TVM_DTYPE_UINT, 1, 1}));
    assert_ptr_equal(tensor->classic.data, tensor->dl.data);
    assert_ptr_equal(tensor->classic.shape, tensor->dl.shape);
    assert_ptr_equal(tvm_tensor_from_classic(&tensor->classic), tensor);
    assert_int_equal(tensor->storage->nbytes, 6);
    memset(tensor->dl.data, 1, 6);
    assert_int_equal(tvm_object_live_count(), live + 2);
    tvm_object_release(&tensor->object);
    assert_int_equal(tvm_object_live_count(), live);
}

static void test_empty_of_nothing(void **state) {
    (void)state;
    struct tvm_tensor *first, *second;
    expect_ok(tvm_tensor_empty((int64_t[]){0, 5}, 2, float32, cpu, &first));
    expect_ok(tvm_tensor_empty((int64_t[]){0, 5}, 2, float32, cpu, &second));
    assert_non_null(first->dl.data);
    assert_ptr_not_equal(first->dl.data, second->dl.data);
    assert_int_equal((uintptr_t)first->dl.data % TVM_ALIGNMENT, 0);
    expect_ok(tvm_tensor_copy(&first->dl, &second->dl));
    expect_ok(tvm_tensor_copy_from_bytes(&first->dl, NULL, 0));
    expect_ok(tvm_tensor_copy_to_bytes(&first->dl, NULL, 0));
    tvm_object_release(&first->object);
    tvm_object_release(&second->object);
}

static void test_empty_refuses(void **state) {
    (void)state;
    int64_t live = tvm_object_live_count();
    struct tvm_tensor *tensor;
    const int64_t one = 1, negative = -1, huge = INT64_MAX;
    expect_error(tvm_tensor_empty(&one, 1, float32, (DLDevice){kDLVulkan, 1}, &tensor),
                 TVM_TYPE_ERROR, "vulkan(1): this runtime has no support");
    expect_error(tvm_tensor_empty(&one, 1, float32, (DLDevice){(DLDeviceType)99, 0}, &tensor),
                 TVM_TYPE_ERROR, "device type 99(0)");
    expect_error(tvm_tensor_empty(&one, 1, float32, (DLDevice){(DLDeviceType)0, 0}, &tensor),
                 TVM_TYPE_ERROR, "device type 0(0)");
    expect_error(tvm_tensor_empty(&one, 1, float32, (DLDevice){kDLCPU, -1}, &tensor),
                 TVM_VALUE_ERROR, "cpu(-1)");
    expect_error(tvm_tensor_empty(&negative, 1, float32, cpu, &tensor), TVM_VALUE_ERROR,
                 "negative");
    expect_error(tvm_tensor_empty(&huge, 1, float32, cpu, &tensor), TVM_VALUE_ERROR, "memory");
    expect_error(tvm_tensor_empty(&one, 1, (DLDataType){0, 0, 0}, cpu, &tensor), TVM_TYPE_ERROR,
                 "no element type");
    assert_int_equal(tvm_object_live_count(), live);
}

static void test_views(void **state) {
    (void)state;
    int64_t live = tvm_object_live_count();
    struct tvm_storage *storage;
    struct tvm_tensor *all, *tail, *end;
    expect_ok(tvm_storage_new(cpu, 64, &storage));
    assert_int_equal(storage->nbytes, 64);
    expect_ok(tvm_tensor_view(storage, 0, (int64_t[]){16}, 1, float32, &all));
    expect_ok(tvm_tensor_view(storage, 48, (int64_t[]){2, 2}, 2, float32, &tail));
    expect_ok(tvm_tensor_view(storage, 64, (int64_t[]){0}, 1, float32, &end));
    assert_int_equal(tvm_object_use_count(&storage->object), 4);
    for (int i = 0; i < 16; i++)
        ((float *)all->dl.data)[i] = (float)i;
    float out[4];
    expect_ok(tvm_tensor_copy_to_bytes(&tail->dl, out, sizeof(out)));
    assert_true(out[0] == 12 && out[3] == 15);
    struct tvm_place place = tvm_tensor_place(&tail->dl);
    assert_int_equal(place.offset, 48);

    struct tvm_tensor *none;
    expect_error(tvm_tensor_view(storage, 52, (int64_t[]){2, 2}, 2, float32, &none),
                 TVM_VALUE_ERROR,
                 "shape [2, 2] of float32 at byte 52 needs 16 bytes, storage has 64");
    expect_error(tvm_tensor_view(storage, 65, (int64_t[]){0}, 1, float32, &none), TVM_VALUE_ERROR,
                 "needs 0 bytes");
    expect_error(tvm_tensor_view(storage, SIZE_MAX - 3, (int64_t[]){4}, 1, boolean, &none),
                 TVM_VALUE_ERROR, "storage has 64");
    expect_error(tvm_tensor_view(storage, 0, (int64_t[]){-4}, 1, boolean, &none), TVM_VALUE_ERROR,
                 "negative");
    assert_int_equal(tvm_object_use_count(&storage->object), 4);

    tvm_object_release(&storage->object);
    tvm_object_release(&all->object);
    tvm_object_release(&end->object);
    assert_int_equal(tvm_object_live_count(), live + 2);
    tvm_object_release(&tail->object);
    assert_int_equal(tvm_object_live_count(), live);
}

static void count_frees(void *resource) {
    ++*(int *)resource;
}

static void test_memory_of_others(void **state) {
    (void)state;
    float memory[4] = {1, 2, 3, 4}, out[2];
    int frees = 0;
    struct tvm_storage *storage;
    struct tvm_tensor *first, *second;
    expect_ok(tvm_storage_wrap(cpu, memory, sizeof(memory), count_frees, &frees, &storage));
    expect_ok(tvm_tensor_view(storage, 0, (int64_t[]){4}, 1, float32, &first));
    expect_ok(tvm_tensor_view(storage, 8, (int64_t[]){2}, 1, float32, &second));
    tvm_object_release(&storage->object);
    assert_ptr_equal(first->dl.data, memory);
    memory[3] = 5;
    expect_ok(tvm_tensor_copy_to_bytes(&second->dl, out, sizeof(out)));
    assert_true(out[0] == 3 && out[1] == 5);
    tvm_object_release(&first->object);
    assert_int_equal(frees, 0);
    tvm_object_release(&second->object);
    assert_int_equal(frees, 1);

    expect_ok(tvm_storage_wrap(cpu, memory, sizeof(memory), NULL, memory, &storage));
    tvm_object_release(&storage->object); /* the memory is not freed, whatever resource is */
}

/* Tensors on one that is on an owner hold the owner, and not each other. */
static void test_over(void **state) {
    (void)state;
    float memory[4] = {1, 2, 3, 4};
    struct tvm_tensor *owner, *first, *second;
    expect_ok(tvm_tensor_empty((int64_t[]){1}, 1, float32, cpu, &owner));
    expect_ok(tvm_tensor_over(cpu, memory, 16, &owner->object, (int64_t[]){4}, 1, float32, &first));
    expect_ok(
        tvm_tensor_over(cpu, memory + 2, 8, &first->object, (int64_t[]){2}, 1, float32, &second));
    assert_int_equal(tvm_object_use_count(&owner->object), 3);
    assert_int_equal(tvm_object_use_count(&first->object), 1);
    assert_ptr_equal(second->dl.data, memory + 2);
    struct tvm_tensor *none;
    expect_error(
        tvm_tensor_over(cpu, memory, 16, &first->object, (int64_t[]){5}, 1, float32, &none),
        TVM_VALUE_ERROR, "needs 20 bytes, storage has 16");
    tvm_object_release(&first->object);
    assert_int_equal(tvm_object_use_count(&owner->object), 2);
    tvm_object_release(&second->object);
    assert_int_equal(tvm_object_use_count(&owner->object), 1);
    tvm_object_release(&owner->object);
}

static void test_copies(void **state) {
    (void)state;
    struct tvm_tensor *from, *to, *ints, *small;
    const float in[6] = {0, 1, 2, 3, 4, 5};
    float out[6] = {0};
    expect_ok(tvm_tensor_empty((int64_t[]){2, 3}, 2, float32, cpu, &from));
    expect_ok(tvm_tensor_empty((int64_t[]){6}, 1, float32, (DLDevice){kDLCPU, 1}, &to));
    expect_ok(tvm_tensor_empty((int64_t[]){6}, 1, (DLDataType){TVM_DTYPE_INT, 32, 1}, cpu, &ints));
    expect_ok(tvm_tensor_empty((int64_t[]){5}, 1, float32, cpu, &small));
    expect_ok(tvm_tensor_copy_from_bytes(&from->dl, in, sizeof(in)));
    expect_ok(tvm_tensor_copy(&from->dl, &to->dl)); /* shapes may differ, sizes not */
    expect_ok(tvm_tensor_copy(&to->dl, &to->dl));
    expect_ok(tvm_tensor_copy_to_bytes(&to->dl, out, sizeof(out)));
    assert_memory_equal(in, out, sizeof(in));

    expect_error(tvm_tensor_copy(&from->dl, &ints->dl), TVM_TYPE_ERROR,
                 "cannot copy float32 to int32: dtypes differ");
    expect_error(tvm_tensor_copy(&from->dl, &small->dl), TVM_VALUE_ERROR,
                 "cannot copy [2, 3] (24 bytes) to [5] (20 bytes)");
    expect_error(tvm_tensor_copy_from_bytes(&from->dl, in, 23), TVM_VALUE_ERROR,
                 "float32 [2, 3] holds 24 bytes, but the copy is of 23 bytes");
    expect_error(tvm_tensor_copy_to_bytes(&from->dl, out, 25), TVM_VALUE_ERROR, "of 25 bytes");
    expect_error(tvm_tensor_copy_from_bytes(&from->dl, NULL, 24), TVM_VALUE_ERROR,
                 "the source of a copy of 24 bytes is NULL");
    expect_error(tvm_tensor_copy_to_bytes(&from->dl, NULL, 24), TVM_VALUE_ERROR,
                 "the target of a copy of 24 bytes is NULL");

    int64_t strides[] = {1, 2};
    DLTensor transposed = from->dl;
    transposed.strides = strides;
    expect_error(tvm_tensor_copy(&transposed, &to->dl), TVM_VALUE_ERROR,
                 "the source tensor is not compact");
    expect_error(tvm_tensor_copy(&to->dl, &transposed), TVM_VALUE_ERROR,
                 "the target tensor is not compact");
    expect_error(tvm_tensor_copy_to_bytes(&transposed, out, sizeof(out)), TVM_VALUE_ERROR,
                 "not compact");
    DLTensor elsewhere = to->dl;
    elsewhere.device.device_type = kDLVPI;
    expect_error(tvm_tensor_copy(&from->dl, &elsewhere), TVM_TYPE_ERROR, "vpi(1)");
    expect_error(tvm_tensor_copy(&elsewhere, &to->dl), TVM_TYPE_ERROR, "vpi(1)");
    struct tvm_tensor *all[] = {from, to, ints, small};
    for (size_t i = 0; i < COUNT(all); i++)
        tvm_object_release(&all[i]->object);
}

/* DLPack */

struct import {
    DLManagedTensor managed;
    int64_t shape[2], strides[2];
    float data[8];
    int deleted;
};

static void delete_import(DLManagedTensor *managed) {
    ((struct import *)managed)->deleted++;
}

static void import_init(struct import *import, DLDataType dtype) {
    *import = (struct import){.shape = {2, 3}, .strides = {3, 1}, .data = {0, 1, 2, 3, 4, 5, 6, 7}};
    import->managed = (DLManagedTensor){.dl_tensor = {.data = import->data,
                                                      .device = cpu,
                                                      .ndim = 2,
                                                      .dtype = dtype,
                                                      .shape = import->shape,
                                                      .strides = import->strides},
                                        .deleter = delete_import};
}

static void test_import(void **state) {
    (void)state;
    int64_t live = tvm_object_live_count();
    struct import import;
    struct tvm_tensor *tensor;
    import_init(&import, float32);
    import.managed.dl_tensor.byte_offset = 8;
    expect_ok(tvm_tensor_from_dlpack(&import.managed, &tensor));
    float out[6];
    expect_ok(tvm_tensor_copy_to_bytes(&tensor->dl, out, sizeof(out)));
    assert_true(out[0] == 2 && out[5] == 7);
    assert_null(tensor->dl.strides);
    assert_int_equal(import.deleted, 0);
    tvm_object_release(&tensor->object);
    assert_int_equal(import.deleted, 1);

    import_init(&import, float32);
    import.managed.deleter = NULL;
    expect_ok(tvm_tensor_from_dlpack(&import.managed, &tensor));
    tvm_object_release(&tensor->object);
    assert_int_equal(tvm_object_live_count(), live);
}

/* bool comes as DLPack numbers it and as classic TVM does; 6 and 7 are never classic float8. */
static void test_import_dtypes(void **state) {
    (void)state;
    static const struct {
        DLDataType given, dtype, classic;
    } cases[] = {
        {{TVM_DTYPE_BOOL, 8, 1}, {TVM_DTYPE_BOOL, 8, 1}, {TVM_DTYPE_UINT, 1, 1}},
        {{TVM_DTYPE_UINT, 1, 1}, {TVM_DTYPE_BOOL, 8, 1}, {TVM_DTYPE_UINT, 1, 1}},
        {{TVM_DTYPE_UINT, 8, 1}, {TVM_DTYPE_UINT, 8, 1}, {TVM_DTYPE_UINT, 8, 1}},
        {{TVM_DTYPE_FLOAT8_E5M2, 8, 1}, {TVM_DTYPE_FLOAT8_E5M2, 8, 1}, {7, 8, 1}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct import import;
        struct tvm_tensor *tensor;
        import_init(&import, cases[i].given);
        expect_ok(tvm_tensor_from_dlpack(&import.managed, &tensor));
        assert_true(tvm_dtype_equal(tensor->dl.dtype, cases[i].dtype));
        assert_true(tvm_dtype_equal(tensor->classic.dtype, cases[i].classic));
        tvm_object_release(&tensor->object);
    }
}

static void refuse_import(struct import *import, const char *kind, const char *text) {
    struct tvm_tensor *tensor;
    int64_t live = tvm_object_live_count();
    expect_error(tvm_tensor_from_dlpack(&import->managed, &tensor), kind, text);
    assert_int_equal(import->deleted, 0);
    assert_int_equal(tvm_object_live_count(), live);
    import_init(import, float32);
}

static void test_import_refuses(void **state) {
    (void)state;
    struct import import;
    DLTensor *dl = &import.managed.dl_tensor;
    import_init(&import, float32);
    import.strides[0] = 4;
    refuse_import(&import, TVM_VALUE_ERROR, "the imported tensor is not compact");
    dl->ndim = -1;
    refuse_import(&import, TVM_VALUE_ERROR, "-1 dimensions");
    dl->ndim = 1000;
    refuse_import(&import, TVM_VALUE_ERROR, "1000 dimensions");
    dl->shape = NULL;
    refuse_import(&import, TVM_VALUE_ERROR, "no shape");
    import.shape[1] = -3;
    refuse_import(&import, TVM_VALUE_ERROR, "negative");
    import.shape[0] = import.shape[1] = INT64_MAX;
    refuse_import(&import, TVM_VALUE_ERROR, "memory");
    dl->data = NULL;
    refuse_import(&import, TVM_VALUE_ERROR, "no data");
    dl->byte_offset = UINT64_MAX - 10;
    refuse_import(&import, TVM_VALUE_ERROR, "byte offset 18446744073709551605");
    dl->dtype.lanes = 0;
    refuse_import(&import, TVM_TYPE_ERROR, "no element type");
    dl->device = (DLDevice){kDLCUDA, 0};
    refuse_import(&import, TVM_TYPE_ERROR, "cuda(0)");
    struct tvm_tensor *tensor;
    dl->data = NULL;
    import.shape[0] = 0;
    expect_ok(
        tvm_tensor_from_dlpack(&import.managed, &tensor)); /* DLPack allows it for no elements */
    tvm_object_release(&tensor->object);
}

static void test_export(void **state) {
    (void)state;
    int64_t live = tvm_object_live_count();
    struct tvm_tensor *tensor, *again;
    DLManagedTensor *export;
    expect_ok(tvm_tensor_empty((int64_t[]){2, 3}, 2, boolean, cpu, &tensor));
    void *data = tensor->dl.data;
    tensor->storage->lent = true;
    expect_error(tvm_tensor_to_dlpack(tensor, &export), TVM_VALUE_ERROR, "lent");
    tensor->storage->lent = false;
    expect_ok(tvm_tensor_to_dlpack(tensor, &export));
    assert_int_equal(tvm_object_use_count(&tensor->object), 2);
    tvm_object_release(&tensor->object);
    assert_ptr_equal(export->dl_tensor.data, data);
    assert_int_equal(export->dl_tensor.ndim, 2);
    assert_int_equal(export->dl_tensor.shape[1], 3);
    assert_true(tvm_dtype_equal(export->dl_tensor.dtype, (DLDataType){TVM_DTYPE_BOOL, 8, 1}));
    memset(data, 1, 6);

    expect_ok(tvm_tensor_from_dlpack(export, &again)); /* and back: the import owns the export */
    assert_true(tvm_dtype_equal(again->dl.dtype, (DLDataType){TVM_DTYPE_BOOL, 8, 1}));
    assert_ptr_equal(again->dl.data, data);
    tvm_object_release(&again->object);
    assert_int_equal(tvm_object_live_count(), live);
}

/* Devices */

static void test_device_texts(void **state) {
    (void)state;
    static const struct {
        int type, id;
        const char *text;
    } devices[] = {
        {1, 0, "cpu(0)"},
        {2, 1, "cuda(1)"},
        {4, 0, "opencl(0)"},
        {13, 2, "cuda_managed(2)"},
        {16, 0, "hexagon(0)"},
        {5, 0, "device type 5(0)"},
        {INT32_MAX, INT32_MIN, "device type 2147483647(-2147483648)"},
        {INT32_MIN, INT32_MIN, "device type -2147483648(-2147483648)"},
    };
    for (size_t i = 0; i < COUNT(devices); i++) {
        char text[TVM_DEVICE_TEXT_SIZE];
        DLDevice device = {(DLDeviceType)devices[i].type, devices[i].id};
        assert_string_equal(tvm_device_print(device, text), devices[i].text);
    }
    assert_true(tvm_device_equal(cpu, (DLDevice){kDLCPU, 0}));
    assert_false(tvm_device_equal(cpu, (DLDevice){kDLCPU, 1}));
    assert_false(tvm_device_equal(cpu, (DLDevice){kDLCUDAHost, 0}));
}

/* What every device in the table must offer. */
static void test_device_table(void **state) {
    (void)state;
    for (const struct tvm_device_api *const *api = tvm_devices; *api; api++) {
        assert_non_null((*api)->name);
        assert_true((*api)->count() >= ((*api)->type == kDLCPU));
        assert_non_null((*api)->check);
        assert_non_null((*api)->alloc);
        assert_non_null((*api)->free);
        assert_non_null((*api)->zero);
        assert_non_null((*api)->copy);
        assert_non_null((*api)->sync);
        assert_non_null((*api)->alloc_workspace);
        assert_non_null((*api)->free_workspace);
        assert_non_null((*api)->attribute);
        char text[TVM_DEVICE_TEXT_SIZE], expected[TVM_DEVICE_TEXT_SIZE];
        snprintf(expected, sizeof(expected), "%s(0)", (*api)->name);
        assert_string_equal(tvm_device_print((DLDevice){(*api)->type, 0}, text), expected);
    }
}

static void test_cpu(void **state) {
    (void)state;
    const struct tvm_device_api *api;
    expect_ok(tvm_device_get((DLDevice){kDLCPU, INT32_MAX}, &api));
    assert_ptr_equal(api, &tvm_cpu_device);
    for (size_t nbytes = 1; nbytes < 1000; nbytes += 37) {
        void *data;
        expect_ok(api->alloc(cpu, nbytes, &data));
        assert_int_equal((uintptr_t)data % TVM_ALIGNMENT, 0);
        memset(data, 0xff, nbytes);
        expect_ok(api->zero((struct tvm_place){cpu, data, 0}, nbytes));
        for (size_t i = 0; i < nbytes; i++)
            assert_int_equal(((char *)data)[i], 0);
        api->free(cpu, data);
    }
    void *data;
    char text[64];
    snprintf(text, sizeof(text), "cannot allocate %zu bytes", SIZE_MAX);
    expect_error(api->alloc(cpu, SIZE_MAX, &data), TVM_MEMORY_ERROR, text);
    char bytes[6] = "abcde";
    expect_ok(api->copy((struct tvm_place){cpu, bytes, 0}, (struct tvm_place){cpu, bytes, 1}, 3));
    assert_string_equal(bytes, "aabce");
    expect_ok(api->zero((struct tvm_place){cpu, bytes, 2}, 2));
    assert_memory_equal(bytes, "aa\0\0e", 6);
    expect_ok(api->sync(cpu));
    struct tvm_value value;
    expect_ok(api->attribute(cpu, 0, &value));
    assert_int_equal(value.type_index, TVM_TYPE_INT);
    assert_int_equal(value.v_int, 1);
    expect_ok(api->attribute(cpu, TVM_DEVICE_PROCESSORS, &value));
    assert_int_equal(value.v_int, tvm_pool_size());
    expect_ok(api->attribute(cpu, TVM_DEVICE_MEMORY, &value));
    assert_true(value.v_int > 1 << 20);
    struct tvm_bytes name;
    expect_ok(api->attribute(cpu, TVM_DEVICE_NAME, &value));
    assert_true(tvm_value_text(&value, &name) && name.size > 0);
    tvm_value_clear(&value);
    expect_ok(api->attribute(cpu, 12345, &value));
    assert_int_equal(value.type_index, TVM_TYPE_NONE);
}

static void test_cpu_workspace(void **state) {
    (void)state;
    const struct tvm_device_api *api = &tvm_cpu_device;
    void *first, *second;
    expect_ok(api->alloc_workspace(cpu, 1000, &first));
    expect_ok(api->alloc_workspace(cpu, 0, &second));
    assert_int_equal((uintptr_t)first % TVM_ALIGNMENT, 0);
    assert_int_equal((uintptr_t)second % TVM_ALIGNMENT, 0);
    assert_ptr_not_equal(first, second);
    memset(first, 1, 1000);
    expect_ok(api->free_workspace(cpu, first));
    expect_ok(api->free_workspace(cpu, second));
    expect_error(api->free_workspace(cpu, second), TVM_VALUE_ERROR, "not a workspace");
    expect_error(api->alloc_workspace(cpu, SIZE_MAX, &first), TVM_MEMORY_ERROR,
                 "cannot allocate a workspace");
}

static void test_copy_by_places(void **state) {
    (void)state;
    char from[] = "abcdef", to[] = "......";
    struct tvm_place source = {cpu, from, 2}, target = {{kDLCPU, 5}, to, 1}, none = {cpu, NULL, 0};
    expect_ok(tvm_device_copy(source, target, 3));
    assert_string_equal(to, ".cde..");
    expect_ok(tvm_device_copy(none, none, 0));
    expect_error(tvm_device_copy(none, target, 1), TVM_VALUE_ERROR, "source of a copy of 1 bytes");
    expect_error(tvm_device_copy(source, none, 1), TVM_VALUE_ERROR, "target of a copy of 1 bytes");
    source.device.device_id = -1;
    expect_error(tvm_device_copy(source, target, 1), TVM_VALUE_ERROR, "cpu(-1)");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_empty_of_nothing),
        cmocka_unit_test(test_empty_refuses),
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_memory_of_others),
        cmocka_unit_test(test_over),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_import),
        cmocka_unit_test(test_import_dtypes),
        cmocka_unit_test(test_import_refuses),
        cmocka_unit_test(test_export),
        cmocka_unit_test(test_device_texts),
        cmocka_unit_test(test_device_table),
        cmocka_unit_test(test_cpu),
        cmocka_unit_test(test_cpu_workspace),
        cmocka_unit_test(test_copy_by_places),
    };
    return cmocka_run_group_tests_name("tensor", tests, NULL, NULL);
}
