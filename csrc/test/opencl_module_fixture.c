#ifndef TVM_NO_OPENCL /* else no test asks for it */
#include "test/opencl_module_fixture.h"

#include <stdio.h>
#include <stdlib.h>

/* For the leak sanitizer: PoCL's compiler loses some bytes. */
const char *__lsan_default_suppressions(void);
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void) {
    return "leak:libpocl\n";
}

static void put_types(struct fixture_bytes *bytes, const char *types) {
    fixture_put_number(bytes, strlen(types), 8);
    for (; *types; types++) {
        static const char letters[] = "piludfh";
        static const unsigned char codes[] = {3, 0, 0, 1, 2, 2, 2},
                                   sizes[] = {64, 32, 64, 32, 64, 32, 16};
        size_t i = (size_t)(strchr(letters, *types) - letters);
        fixture_put_number(bytes, codes[i], 1);
        fixture_put_number(bytes, sizes[i], 1);
        fixture_put_number(bytes, 1, 2);
    }
}

static void put_tags(struct fixture_bytes *bytes, const char *tags) {
    char copy[200], text[40], *rest = NULL;
    size_t count = 0;
    for (const char *c = tags; *c; c++)
        count += c == tags || c[-1] == ' ';
    fixture_put_number(bytes, count, 8);
    snprintf(copy, sizeof(copy), "%s", tags);
    for (char *tag = strtok_r(copy, " ", &rest); tag; tag = strtok_r(NULL, " ", &rest)) {
        if (strlen(tag) == 2)
            snprintf(text, sizeof(text), "%s.%c", *tag == 'b' ? "blockIdx" : "threadIdx", tag[1]);
        else if (strcmp(tag, "dyn") == 0)
            strcpy(text, "tir.use_dyn_shared_memory");
        else
            snprintf(text, sizeof(text), "%s", tag);
        fixture_put_string(bytes, text);
    }
}

void opencl_put_kernels(struct fixture_bytes *bytes, const struct module_kernel *kernels,
                        size_t count, bool ffi) {
    fixture_put_number(bytes, count, 8);
    for (size_t i = 0; i < count; i++) {
        fixture_put_string(bytes, kernels[i].name);
        fixture_put_string(bytes, i % 2 ? kernels[i].name : ""); /* again, or not: both are there */
        put_types(bytes, kernels[i].types);
        put_tags(bytes, kernels[i].tags);
        if (ffi) { /* a mark for each parameter */
            fixture_put_number(bytes, strlen(kernels[i].types), 8);
            for (const char *c = kernels[i].types; *c; c++)
                fixture_put_number(bytes, 0, 4);
        }
    }
}

struct fixture_bytes opencl_module_bytes(const char *format, const struct module_kernel *kernels,
                                         size_t count, const char *source, bool ffi) {
    struct fixture_bytes bytes = {NULL, 0};
    fixture_put_string(&bytes, format);
    opencl_put_kernels(&bytes, kernels, count, ffi);
    fixture_put_string(&bytes, source);
    return bytes;
}

int opencl_module_read(struct fixture_bytes bytes, bool ffi, struct tvm_module **out) {
    const struct tvm_module_kind *kind = ffi ? &tvm_opencl_ffi_kind : &tvm_opencl_kind;
    unsigned char *exact = malloc(bytes.size ? bytes.size : 1);
    assert_non_null(exact);
    if (bytes.size)
        memcpy(exact, bytes.data, bytes.size);
    struct tvm_reader reader = {.data = exact, .size = bytes.size, .name = "test.so"};
    int status = kind->load(&reader, out);
    if (status == 0 && tvm_reader_left(&reader)) {
        fixture_release(*out);
        status = tvm_raise(TVM_FORMAT_ERROR, "%zu bytes are left", tvm_reader_left(&reader));
    }
    free(exact);
    return status;
}

struct tvm_module *opencl_module_new(const struct module_kernel *kernels, size_t count,
                                     const char *source, bool ffi) {
    struct fixture_bytes bytes = opencl_module_bytes("cl", kernels, count, source, ffi);
    struct tvm_module *module = NULL;
    expect_ok(opencl_module_read(bytes, ffi, &module));
    free(bytes.data);
    return module;
}

void opencl_need_devices(int count) {
    int devices = tvm_opencl_device.count();
    if (devices == 0 && getenv("GOTVM_TEST_OPENCL"))
        fail_msg("GOTVM_TEST_OPENCL is set, but there is no OpenCL device");
    if (devices < count)
        skip();
}
#endif
