/* Tagged 16-byte values: tvm-ffi's TVMFFIAny. A value is either a view, which borrows what it
 * points to, or owned: then it holds a reference and tvm_value_clear gives it back. Arguments are
 * views, results are owned. */
#ifndef TVM_BASE_VALUE_H
#define TVM_BASE_VALUE_H

#include "base/error.h"
#include "base/object.h"
#include "include/tvm_runtime.h"

#include <stdbool.h>
#include <string.h>

struct tvm_value {
    int32_t type_index;
    uint32_t small_size; /* bytes of a small string, 0 for everything else */
    union {
        int64_t v_int;
        double v_float;
        void *v_ptr;
        const char *v_str;
        struct tvm_object *v_object;
        DLDataType v_dtype;
        DLDevice v_device;
        char v_small[8];
    };
};

/* Heap string or byte string: object, then struct tvm_bytes, as tvm-ffi has it. */
struct tvm_string {
    struct tvm_object object;
    struct tvm_bytes bytes; /* NUL-terminated; may hold NULs */
    char text[];
};

static inline struct tvm_value tvm_none(void) {
    return (struct tvm_value){.type_index = TVM_TYPE_NONE};
}

static inline struct tvm_value tvm_int(int64_t value) {
    return (struct tvm_value){.type_index = TVM_TYPE_INT, .v_int = value};
}

static inline struct tvm_value tvm_float(double value) {
    return (struct tvm_value){.type_index = TVM_TYPE_FLOAT, .v_float = value};
}

static inline struct tvm_value tvm_opaque(void *value) {
    return (struct tvm_value){.type_index = TVM_TYPE_OPAQUE_PTR, .v_ptr = value};
}

static inline struct tvm_value tvm_device(DLDevice value) {
    return (struct tvm_value){.type_index = TVM_TYPE_DEVICE, .v_device = value};
}

static inline struct tvm_value tvm_raw_string(const char *value) {
    return (struct tvm_value){.type_index = TVM_TYPE_RAW_STR, .v_str = value};
}

/* Of any object: the reference is shared with (a view) or taken from (owned) the caller's. */
static inline struct tvm_value tvm_from_object(void *object) {
    struct tvm_object *base = object;
    return (struct tvm_value){.type_index = base ? base->type_index : TVM_TYPE_NONE,
                              .v_object = base};
}

static inline bool tvm_value_is_object(const struct tvm_value *value) {
    return value->type_index >= TVM_TYPE_OBJECT;
}

/* Gives back what an owned value holds and makes it None. */
static inline void tvm_value_clear(struct tvm_value *value) {
    if (tvm_value_is_object(value))
        tvm_object_release(value->v_object);
    *value = tvm_none();
}

/* Makes an owned value of a view: objects gain a reference, borrowed strings and bytes are copied,
 * a borrowed DLTensor stays a borrowed pointer. */
int tvm_value_own(const struct tvm_value *view, struct tvm_value *out);

/* Owned string (or, with TVM_TYPE_BYTES, byte string) holding a copy of size bytes. */
int tvm_value_from_text(enum tvm_type_index type, const char *data, size_t size,
                        struct tvm_value *out);

/* A new tensor on device with a copy of what the compact tensor from holds. */
int tvm_value_from_tensor(const DLTensor *from, DLDevice device, struct tvm_value *out);

/* The bytes of a string or byte-string value, borrowed from it; false for other types. Small
 * strings live inside the value, so the value must outlive *out. */
bool tvm_value_text(const struct tvm_value *value, struct tvm_bytes *out);

/* What messages call a type: "int", "str", "Tensor" … */
const char *tvm_type_name(int32_t type_index);

/* The arguments of a packed function, with the name that its messages begin with. */
struct tvm_call {
    const char *name;
    const struct tvm_value *args;
    int32_t count;
};

/* Checked access to argument index, called what in messages: ValueError when it is missing,
 * TypeError when it is of another type. Integers accept bool, floats accept int, text accepts
 * strings and byte strings. */
int tvm_call_int(const struct tvm_call *call, int32_t index, const char *what, int64_t *out);
int tvm_call_float(const struct tvm_call *call, int32_t index, const char *what, double *out);
int tvm_call_text(const struct tvm_call *call, int32_t index, const char *what,
                  struct tvm_bytes *out);
/* A copy that ends with NUL, to be freed; ValueError when there is one in it. */
int tvm_call_string(const struct tvm_call *call, int32_t index, const char *what, char **out);
/* A device type and, in the argument behind it, an id. Whether there is such a device is not asked.
 */
int tvm_call_device(const struct tvm_call *call, int32_t index, DLDevice *out);
/* Tensor objects and borrowed DLTensor pointers. */
int tvm_call_tensor(const struct tvm_call *call, int32_t index, const char *what,
                    const DLTensor **out);
/* Raises the error of the next. */
void tvm_call_no_object(const struct tvm_call *call, int32_t index, const char *what,
                        enum tvm_type_index type);
/* An object of exactly this type, borrowed; out points to a pointer to its struct, which becomes
 * NULL on failure. */
static inline int tvm_call_object(const struct tvm_call *call, int32_t index, const char *what,
                                  enum tvm_type_index type, void *out) {
    struct tvm_object *object = NULL;
    int status = -1;
    if (index < call->count && call->args[index].type_index == (int32_t)type) {
        object = call->args[index].v_object;
        status = 0;
    } else {
        tvm_call_no_object(call, index, what, type);
    }
    memcpy(out, &object, sizeof(struct tvm_object *));
    return status;
}
/* Raises the ValueError of the next. */
int tvm_call_wrong_count(const struct tvm_call *call, int32_t min, int32_t max);
enum { TVM_ANY_COUNT = INT32_MAX };
/* ValueError unless there are between min and max arguments. */
static inline int tvm_call_check_count(const struct tvm_call *call, int32_t min, int32_t max) {
    return call->count >= min && call->count <= max ? 0 : tvm_call_wrong_count(call, min, max);
}

#endif
