#include "test/params_fixture.h"

#include <stdio.h>
#include <unistd.h>

struct fixture_bytes params_several(void) {
    static const char *const names[] = {"weight", "", "scalar", "empty", "mask"};
    static const float weight[] = {1, 2, 3, 4, 5, 6, 7};
    static const int64_t seven[] = {7}, none[] = {3, 0, 2}, mask_shape[] = {3, 1};
    struct fixture_bytes bytes = {NULL, 0};
    fixture_put_head(&bytes, names, 5);
    fixture_put_tensor(&bytes, (DLDataType){kDLFloat, 32, 1}, seven, 1, weight, sizeof(weight));
    fixture_put_tensor(&bytes, (DLDataType){kDLInt, 64, 1}, seven, 0, "\1\2\0\0\0\0\0\0", 8);
    fixture_put_tensor(&bytes, (DLDataType){kDLFloat, 16, 1}, seven, 0, "ab", 2);
    fixture_put_tensor(&bytes, (DLDataType){kDLFloat, 32, 1}, none, 3, NULL, 0);
    fixture_put_tensor(&bytes, (DLDataType){kDLUInt, 1, 1}, mask_shape, 2, "\1\0\1", 3);
    return bytes;
}

int params_scratch(void) {
    static FILE *file;
    if (!file)
        file = tmpfile();
    return file ? fileno(file) : -1;
}

struct tvm_graph_weights *params_open(struct fixture_bytes bytes) {
    struct tvm_graph_weights *weights = NULL;
    int file = params_scratch();
    assert_int_equal(ftruncate(file, 0), 0);
    assert_int_equal(pwrite(file, "0123456789a", PARAMS_OFFSET, 0), PARAMS_OFFSET);
    assert_int_equal(pwrite(file, bytes.data, bytes.size, PARAMS_OFFSET), bytes.size);
    assert_int_equal(pwrite(file, "behind", 6, (off_t)(PARAMS_OFFSET + bytes.size)), 6);
    if (tvm_graph_weights_open("test.params", file, PARAMS_OFFSET, bytes.size, &weights))
        return NULL;
    return weights;
}

void params_expect_equal(const struct tvm_graph_params *a, const struct tvm_graph_params *b) {
    assert_int_equal(tvm_graph_params_count(a), tvm_graph_params_count(b));
    for (size_t i = 0; i < tvm_graph_params_count(a); i++) {
        const DLTensor *x = &tvm_graph_params_tensor(a, i)->dl;
        const DLTensor *y = &tvm_graph_params_tensor(b, i)->dl;
        size_t nbytes;
        assert_string_equal(tvm_graph_params_name(a, i).data, tvm_graph_params_name(b, i).data);
        assert_true(tvm_dtype_equal(x->dtype, y->dtype));
        assert_int_equal(x->ndim, y->ndim);
        if (x->ndim)
            assert_memory_equal(x->shape, y->shape, (size_t)x->ndim * 8);
        expect_ok(tvm_tensor_nbytes(x, &nbytes));
        assert_memory_equal(x->data, y->data, nbytes);
    }
}
