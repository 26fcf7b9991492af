#include "test/relax_fixture.h"

#include "module/library.h"
#include "module/symbols.h"
#include "test/expect.h"
#include "test/library_fixture.h"
#include "test/zoo.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

const char *relax_path(const char *folder, const char *file) {
    char name[256];
    snprintf(name, sizeof(name), "relax/%s/%s", folder, file);
    return zoo_path(name);
}

cJSON *relax_manifest(void) {
    size_t size;
    zoo_need();
    char *text = (char *)fixture_read(zoo_path("relax/manifest.json"), &size);
    cJSON *manifest = cJSON_ParseWithLength(text, size);
    assert_non_null(manifest);
    free(text);
    return manifest;
}

bool relax_runs_here(const cJSON *entry) {
    const char *folder = cJSON_GetObjectItem(entry, "dir")->valuestring;
    bool arm = strncmp(folder, "arm64", 5) == 0;     /* where the others are not */
    bool linked = strncmp(folder, "linked", 6) == 0; /* an object file */
    return !arm && !linked && cJSON_IsTrue(cJSON_GetObjectItem(entry, "runs"));
}

static struct tvm_value read_tensor(struct tvm_reader *reader) {
    uint64_t word;
    int32_t number, ndim;
    int64_t shape[TVM_MAX_NDIM], nbytes;
    DLDataType dtype;
    const unsigned char *data;
    struct tvm_tensor *tensor;
    expect_ok(tvm_read_u64(reader, "magic", &word));
    expect_ok(tvm_read_u64(reader, "reserved", &word));
    expect_ok(tvm_read_i32(reader, "device", &number));
    expect_ok(tvm_read_i32(reader, "device", &number));
    expect_ok(tvm_read_i32(reader, "ndim", &ndim));
    expect_ok(tvm_read_u8(reader, "code", &dtype.code));
    expect_ok(tvm_read_u8(reader, "bits", &dtype.bits));
    expect_ok(tvm_read_u16(reader, "lanes", &dtype.lanes));
    for (int i = 0; i < ndim; i++)
        expect_ok(tvm_read_i64(reader, "shape", &shape[i]));
    expect_ok(tvm_read_i64(reader, "nbytes", &nbytes));
    expect_ok(tvm_read_bytes(reader, "data", (size_t)nbytes, &data));
    expect_ok(tvm_tensor_empty(shape, ndim, dtype, (DLDevice){kDLCPU, 0}, &tensor));
    expect_ok(tvm_tensor_copy_from_bytes(&tensor->dl, data, (size_t)nbytes));
    return tvm_from_object(tensor);
}

struct tvm_map *relax_tensors(const char *folder, const char *file) {
    uint64_t word, count;
    struct tvm_map *map;
    struct tvm_reader reader = {.name = file};
    unsigned char *data = fixture_read(relax_path(folder, file), &reader.size);
    reader.data = data;
    expect_ok(tvm_read_u64(&reader, "magic", &word));
    expect_ok(tvm_read_u64(&reader, "reserved", &word));
    expect_ok(tvm_read_u64(&reader, "names", &count));
    struct tvm_bytes *names = calloc((size_t)count + 1, sizeof(*names));
    assert_non_null(names);
    expect_ok(tvm_map_new((size_t)count, &map));
    for (uint64_t i = 0; i < count; i++)
        expect_ok(tvm_read_string(&reader, "name", &names[i]));
    expect_ok(tvm_read_u64(&reader, "tensors", &word));
    assert_true(word == count);
    for (uint64_t i = 0; i < count; i++)
        expect_ok(tvm_map_set(map, names[i], read_tensor(&reader)));
    free(names);
    free(data);
    return map;
}

static struct tvm_value find_tensor(struct tvm_map *map, const char *name) {
    const struct tvm_value *found =
        map ? tvm_map_find(map, (struct tvm_bytes){name, strlen(name)}) : NULL;
    if (!found)
        fail_msg("no tensor %s", name);
    return *found;
}

static struct tvm_value read_shape(const cJSON *dims) {
    int64_t numbers[TVM_MAX_NDIM];
    struct tvm_shape *shape;
    int count = 0;
    const cJSON *dim;
    for (dim = relax_first(dims); dim; dim = dim->next)
        numbers[count++] = (int64_t)dim->valuedouble;
    expect_ok(tvm_shape_new(numbers, (size_t)count, &shape));
    return tvm_from_object(shape);
}

struct tvm_value relax_value(const cJSON *description, struct tvm_map *reference,
                             struct tvm_map *params) {
    const cJSON *item = cJSON_GetObjectItem(description, "tuple");
    struct tvm_value value;
    if (item) {
        struct tvm_array *array;
        const cJSON *it;
        expect_ok(tvm_array_new((size_t)cJSON_GetArraySize(item), &array));
        for (it = relax_first(item); it; it = it->next)
            array->items[array->size++] = relax_value(it, reference, params);
        return tvm_from_object(array);
    }
    if ((item = cJSON_GetObjectItem(description, "tensor")))
        value = find_tensor(reference, item->valuestring);
    else if ((item = cJSON_GetObjectItem(description, "param")))
        value = find_tensor(params, item->valuestring);
    else if ((item = cJSON_GetObjectItem(description, "shape")))
        return read_shape(item);
    else if ((item = cJSON_GetObjectItem(description, "int")))
        return tvm_int((int64_t)item->valuedouble);
    else if ((item = cJSON_GetObjectItem(description, "float")))
        return tvm_float(item->valuedouble);
    else if ((item = cJSON_GetObjectItem(description, "bool")))
        return (struct tvm_value){.type_index = TVM_TYPE_BOOL, .v_int = cJSON_IsTrue(item)};
    else if ((item = cJSON_GetObjectItem(description, "string"))) {
        const char *text = item->valuestring;
        expect_ok(tvm_value_from_text(TVM_TYPE_STR, text, strlen(text), &value));
        return value;
    } else
        fail_msg("a value of no known kind: %s", cJSON_Print(description));
    tvm_object_retain(value.v_object);
    return value;
}

static double half_to_double(uint16_t half) {
    int exponent = half >> 10 & 31, fraction = half & 1023;
    double value = exponent == 0    ? ldexp(fraction, -24)
                   : exponent == 31 ? (fraction ? (double)NAN : HUGE_VAL)
                                    : ldexp(fraction + 1024, exponent - 25);
    return half & 0x8000 ? -value : value;
}

static double element(const DLTensor *dl, size_t index) {
    const void *data = (const char *)dl->data + dl->byte_offset;
    switch (dl->dtype.code << 8 | dl->dtype.bits) {
    case TVM_DTYPE_FLOAT << 8 | 16:
        return half_to_double(((const uint16_t *)data)[index]);
    case TVM_DTYPE_FLOAT << 8 | 32:
        return (double)((const float *)data)[index];
    case TVM_DTYPE_FLOAT << 8 | 64:
        return ((const double *)data)[index];
    case TVM_DTYPE_INT << 8 | 8:
        return ((const int8_t *)data)[index];
    case TVM_DTYPE_INT << 8 | 16:
        return ((const int16_t *)data)[index];
    case TVM_DTYPE_INT << 8 | 32:
        return ((const int32_t *)data)[index];
    case TVM_DTYPE_INT << 8 | 64:
        return (double)((const int64_t *)data)[index];
    case TVM_DTYPE_BOOL << 8 | 8:
    case TVM_DTYPE_UINT << 8 | 8:
        return ((const uint8_t *)data)[index];
    case TVM_DTYPE_UINT << 8 | 16:
        return ((const uint16_t *)data)[index];
    case TVM_DTYPE_UINT << 8 | 32:
        return ((const uint32_t *)data)[index];
    case TVM_DTYPE_UINT << 8 | 64:
        return (double)((const uint64_t *)data)[index];
    default:
        fail_msg("elements of code %d, %d bits", dl->dtype.code, dl->dtype.bits);
        return 0;
    }
}

static void expect_tensor(const char *where, const DLTensor *actual, const DLTensor *expected,
                          double rtol, double atol) {
    size_t count;
    if (!tvm_dtype_equal(actual->dtype, expected->dtype) || actual->ndim != expected->ndim ||
        memcmp(actual->shape, expected->shape, (size_t)actual->ndim * sizeof(int64_t)) != 0)
        fail_msg("%s: another dtype or shape than expected", where);
    expect_ok(tvm_shape_count(actual->shape, actual->ndim, &count));
    for (size_t i = 0; i < count; i++) {
        double a = element(actual, i), b = element(expected, i);
        if (!(fabs(a - b) <= atol + rtol * fabs(b)) && !(isnan(a) && isnan(b)) && a != b)
            fail_msg("%s: element %zu is %g, expected %g", where, i, a, b);
    }
}

void relax_expect(const char *where, const struct tvm_value *value, const cJSON *description,
                  struct tvm_map *reference, double rtol, double atol) {
    const cJSON *item = cJSON_GetObjectItem(description, "tuple");
    struct tvm_value expected;
    if (item) {
        assert_int_equal(value->type_index, TVM_TYPE_ARRAY);
        const struct tvm_array *array = (const struct tvm_array *)value->v_object;
        assert_int_equal(array->size, cJSON_GetArraySize(item));
        for (int i = 0; i < (int)array->size; i++)
            relax_expect(where, &array->items[i], cJSON_GetArrayItem(item, i), reference, rtol,
                         atol);
        return;
    }
    expected = relax_value(description, reference, NULL);
    if (value->type_index != expected.type_index)
        fail_msg("%s: type %d, expected %d", where, value->type_index, expected.type_index);
    if (value->type_index == TVM_TYPE_TENSOR)
        expect_tensor(where, &((struct tvm_tensor *)value->v_object)->dl,
                      &((struct tvm_tensor *)expected.v_object)->dl, rtol, atol);
    else if (value->type_index == TVM_TYPE_SHAPE) {
        const struct tvm_shape *a = (const struct tvm_shape *)value->v_object;
        const struct tvm_shape *b = (const struct tvm_shape *)expected.v_object;
        assert_int_equal(a->size, b->size);
        assert_memory_equal(a->data, b->data, a->size * sizeof(int64_t));
    } else if (value->type_index == TVM_TYPE_STR || value->type_index == TVM_TYPE_SMALL_STR) {
        struct tvm_bytes a, b;
        assert_true(tvm_value_text(value, &a) && tvm_value_text(&expected, &b));
        assert_int_equal(a.size, b.size);
        assert_memory_equal(a.data, b.data, a.size);
    } else {
        assert_int_equal(value->v_int, expected.v_int);
    }
    tvm_value_clear(&expected);
}

struct tvm_relax_executable *relax_open(const char *folder, const char *file) {
    struct tvm_module *module;
    zoo_need();
    expect_ok(tvm_library_open(relax_path(folder, file), &module));
    struct tvm_relax_executable *executable = tvm_relax_executable_of(module);
    assert_non_null(executable);
    return executable;
}

unsigned char *relax_blob(const char *folder, size_t *size) {
    size_t file_size;
    struct tvm_elf elf;
    const unsigned char *content;
    zoo_need();
    unsigned char *file = fixture_read(relax_path(folder, "model.so"), &file_size);
    expect_ok(tvm_elf_read("model.so", file, file_size, &elf));
    expect_ok(tvm_elf_content(&elf, tvm_elf_find(&elf, TVM_SYMBOL_FFI_BLOB), &content, size));
    unsigned char *blob = malloc(*size);
    assert_non_null(blob);
    memcpy(blob, content, *size);
    tvm_elf_free(&elf);
    free(file);
    return blob;
}

unsigned char *relax_payload(const char *folder, size_t *size) {
    size_t skipped;
    struct tvm_bytes key, bytes;
    struct tvm_reader reader = {.name = "blob", .pos = 8};
    unsigned char *blob = relax_blob(folder, &reader.size);
    reader.data = blob;
    for (int i = 0; i < 2; i++) { /* the import tree */
        expect_ok(tvm_read_count(&reader, "tree", 8, &skipped));
        reader.pos += skipped * 8;
    }
    expect_ok(tvm_read_string(&reader, "kind", &key));
    assert_memory_equal(key.data, "relax.VMExecutable", 18);
    expect_ok(tvm_read_string(&reader, "payload", &bytes));
    unsigned char *payload = malloc(bytes.size);
    assert_non_null(payload);
    memcpy(payload, bytes.data, bytes.size);
    *size = bytes.size;
    free(blob);
    return payload;
}

int relax_load(const unsigned char *data, size_t size, struct tvm_module **out) {
    unsigned char *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, data, size);
    struct tvm_reader reader = {.data = copy, .size = size, .name = "m.so"};
    int status = tvm_relax_executable_kind.load(&reader, out);
    if (status == 0 && reader.pos != size) {
        tvm_object_release(&(*out)->object);
        status = tvm_raise(TVM_FORMAT_ERROR, "bytes are left");
    }
    free(copy);
    return status;
}

struct tvm_relax_session *relax_session(struct tvm_relax_executable *executable) {
    struct tvm_relax_session *session;
    expect_ok(tvm_relax_session_new(executable, (DLDevice){kDLCPU, 0}, &session));
    return session;
}

size_t relax_function(const struct tvm_relax_executable *executable, const char *name) {
    size_t index;
    if (!tvm_relax_find_function(executable, name, &index))
        fail_msg("no function %s", name);
    return index;
}

static void add_one_to(const DLTensor *from, const DLTensor *to) {
    size_t count;
    expect_ok(tvm_shape_count(from->shape, from->ndim, &count));
    for (size_t i = 0; i < count; i++)
        ((float *)to->data)[i] = ((const float *)from->data)[i] + 1;
}

static int add_one(void *self, const struct tvm_value *args, int32_t count,
                   struct tvm_value *result) {
    struct tvm_call call = {"add_one", args, count};
    struct tvm_tensor *made;
    const DLTensor *dl;
    (void)self;
    if (tvm_call_tensor(&call, 0, "x", &dl) ||
        tvm_tensor_empty(dl->shape, dl->ndim, dl->dtype, dl->device, &made))
        return -1;
    add_one_to(dl, &made->dl);
    *result = tvm_from_object(made);
    return 0;
}

static int add_one_into(void *self, const struct tvm_value *args, int32_t count,
                        struct tvm_value *result) {
    struct tvm_call call = {"add_one_into", args, count};
    const DLTensor *from, *to;
    (void)self, (void)result;
    if (tvm_call_tensor(&call, 0, "x", &from) || tvm_call_tensor(&call, 1, "y", &to))
        return -1;
    add_one_to(from, to);
    return 0;
}

/* (x, [n, 3, 5], 7, "text", float16, (x, (x,)), 2.5): the shape of x as a tensor */
static int describe(void *self, const struct tvm_value *args, int32_t count,
                    struct tvm_value *result) {
    struct tvm_call call = {"describe", args, count};
    struct tvm_tensor *made;
    struct tvm_shape *shape;
    struct tvm_array *tuple;
    struct tvm_bytes text;
    const DLTensor *dl;
    int64_t number, two = 2;
    double real;
    (void)self;
    expect_ok(tvm_call_check_count(&call, 7, 7));
    expect_ok(tvm_call_tensor(&call, 0, "x", &dl));
    expect_ok(tvm_call_object(&call, 1, "shape", TVM_TYPE_SHAPE, &shape));
    assert_true(shape->size == 3 && shape->data[0] == dl->shape[0] && shape->data[2] == 5);
    expect_ok(tvm_call_int(&call, 2, "7", &number));
    assert_int_equal(number, 7);
    expect_ok(tvm_call_text(&call, 3, "text", &text));
    assert_true(text.size == 4 && memcmp(text.data, "text", 4) == 0);
    assert_int_equal(args[4].type_index, TVM_TYPE_DTYPE);
    assert_true(tvm_dtype_equal(args[4].v_dtype, (DLDataType){TVM_DTYPE_FLOAT, 16, 1}));
    expect_ok(tvm_call_object(&call, 5, "tuple", TVM_TYPE_ARRAY, &tuple));
    assert_int_equal(tuple->size, 2);
    assert_int_equal(tuple->items[1].type_index, TVM_TYPE_ARRAY);
    expect_ok(tvm_call_float(&call, 6, "2.5", &real));
    assert_true(real == 2.5);
    expect_ok(tvm_tensor_empty(&two, 1, (DLDataType){TVM_DTYPE_INT, 64, 1}, dl->device, &made));
    memcpy(made->dl.data, dl->shape, 2 * sizeof(int64_t));
    *result = tvm_from_object(made);
    return 0;
}

/* ((a, b)): (b, a) */
static int turn(void *self, const struct tvm_value *args, int32_t count, struct tvm_value *result) {
    struct tvm_call call = {"turn", args, count};
    struct tvm_array *pair, *made;
    (void)self;
    expect_ok(tvm_call_object(&call, 0, "pair", TVM_TYPE_ARRAY, &pair));
    expect_ok(tvm_array_new(2, &made));
    for (; made->size < 2; made->size++)
        expect_ok(tvm_value_own(&pair->items[1 - made->size], &made->items[made->size]));
    *result = tvm_from_object(made);
    return 0;
}

/* What comes back with the error: a host language's own error would. */
static int fail_always(void *self, const struct tvm_value *args, int32_t count,
                       struct tvm_value *result) {
    (void)args, (void)count, (void)result;
    tvm_object_retain(self);
    return tvm_raise_with_payload("TestError", "deliberate", 10, self);
}

void relax_register_callbacks(void) {
    static const struct {
        const char *name;
        tvm_safe_call *call;
    } functions[] = {{"gotvm.test.add_one", add_one},
                     {"gotvm.test.add_one_into", add_one_into},
                     {"gotvm.test.describe", describe},
                     {"gotvm.test.turn", turn},
                     {"gotvm.test.fail", fail_always}};
    for (size_t i = 0; i < sizeof(functions) / sizeof(*functions); i++) {
        struct tvm_function *function;
        expect_ok(tvm_function_new(functions[i].call, NULL, NULL, &function));
        expect_ok(tvm_registry_set(functions[i].name, function, true));
        tvm_object_release(&function->object);
    }
}

struct tvm_tensor *relax_tensor_of(const struct tvm_value *value) {
    assert_int_equal(value->type_index, TVM_TYPE_TENSOR);
    return (struct tvm_tensor *)value->v_object;
}

const float *relax_floats(const struct tvm_value *value) {
    return relax_tensor_of(value)->dl.data;
}

struct tvm_value relax_filled(int64_t rows, int64_t columns, float number) {
    struct tvm_tensor *tensor;
    expect_ok(tvm_tensor_empty((int64_t[]){rows, columns}, 2, (DLDataType){TVM_DTYPE_FLOAT, 32, 1},
                               (DLDevice){kDLCPU, 0}, &tensor));
    for (int64_t i = 0; i < rows * columns; i++)
        ((float *)tensor->dl.data)[i] = number;
    return tvm_from_object(tensor);
}
