/* What a packed call costs beside a plain C call through a pointer: the least of several rounds,
 * for 0 arguments, 3 ints and 3 arrays. The functions do nothing but look at their arguments. */
#include "base/classic.h"
#include "base/os.h"
#include "base/tensor.h"

#include <stdio.h>
#include <stdlib.h>

enum { ROUNDS = 15, CALLS = 200000, ARGS = 3 };

/* One set of arguments in all the forms that the calls take. */
struct arguments {
    int count;
    int64_t plain[ARGS];
    struct tvm_value modern[ARGS];
    TVMValue classic[ARGS];
    int codes[ARGS];
};

typedef int64_t plain_fn(const int64_t *args, int count);

static int64_t plain(const int64_t *args, int count) {
    return count ? args[count - 1] : 0;
}

static int safe_call(void *self, const struct tvm_value *args, int32_t count,
                     struct tvm_value *result) {
    (void)self;
    *result = tvm_int(count ? args[count - 1].v_int : 0);
    return 0;
}

static int compiled(TVMValue *args, int *codes, int count, TVMValue *ret, int *ret_code,
                    void *resource) {
    (void)codes, (void)resource;
    ret->v_int64 = count ? args[count - 1].v_int64 : 0;
    *ret_code = kTVMArgInt;
    return 0;
}

static int callback(TVMValue *args, int *codes, int count, TVMRetValueHandle ret, void *resource) {
    (void)codes, (void)resource;
    TVMValue value = {.v_int64 = count ? args[count - 1].v_int64 : 0};
    return TVMCFuncSetReturn(ret, &value, &(int){kTVMArgInt}, 1);
}

static plain_fn *volatile plain_pointer =
    plain; /* volatile: the compiler must not see through it */
static volatile int64_t sink;

static void call_plain(struct tvm_function *function, struct arguments *arguments) {
    (void)function;
    for (int i = 0; i < CALLS; i++)
        sink = plain_pointer(arguments->plain, arguments->count);
}

static void call_modern(struct tvm_function *function, struct arguments *arguments) {
    struct tvm_value result;
    for (int i = 0; i < CALLS; i++) {
        if (tvm_function_call(function, arguments->modern, arguments->count, &result))
            abort();
        sink = result.v_int;
    }
}

static void call_classic(struct tvm_function *function, struct arguments *arguments) {
    TVMValue ret;
    int code;
    for (int i = 0; i < CALLS; i++) {
        if (TVMFuncCall(function, arguments->classic, arguments->codes, arguments->count, &ret,
                        &code))
            abort();
        sink = ret.v_int64;
    }
}

/* Nanoseconds of one call. */
static double measure(void (*call)(struct tvm_function *, struct arguments *),
                      struct tvm_function *function, struct arguments *arguments) {
    int64_t least = INT64_MAX;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t start = tvm_os_now();
        call(function, arguments);
        int64_t took = tvm_os_now() - start;
        if (took < least)
            least = took;
    }
    return (double)least / CALLS;
}

static void print_row(const char *name, void (*call)(struct tvm_function *, struct arguments *),
                      struct tvm_function *function, struct arguments *sets, const double *base) {
    printf("%-44s", name);
    for (int i = 0; i < 4; i++) {
        double ns = measure(call, function, &sets[i]);
        printf("%8.1f (%4.1fx)", ns, ns / base[i]);
    }
    putchar('\n');
}

int main(void) {
    struct arguments sets[4] = {{.count = 0}, {.count = ARGS}, {.count = ARGS}, {.count = ARGS}};
    struct tvm_function *modern, *library, *host;
    struct tvm_tensor *tensors[ARGS];
    if (tvm_function_new(safe_call, NULL, NULL, &modern) ||
        tvm_classic_function_new(compiled, NULL, &library) ||
        tvm_classic_callback_new(callback, NULL, NULL, &host))
        return 1;
    for (int i = 0; i < ARGS; i++) {
        if (tvm_tensor_empty((int64_t[]){4}, 1, (DLDataType){kDLFloat, 32, 1},
                             (DLDevice){kDLCPU, 0}, &tensors[i]))
            return 1;
        sets[1].modern[i] = tvm_int(i);
        sets[1].classic[i].v_int64 = i;
        sets[1].codes[i] = kTVMArgInt;
        for (int set = 2; set < 4; set++) {
            sets[set].modern[i] = tvm_from_object(tensors[i]);
            sets[set].classic[i].v_handle = &tensors[i]->classic;
            sets[set].codes[i] = set == 2 ? kTVMNDArrayHandle : kTVMDLTensorHandle;
        }
        sets[3].modern[i] =
            (struct tvm_value){.type_index = TVM_TYPE_DLTENSOR_PTR, .v_ptr = &tensors[i]->dl};
    }
    double base[4];
    for (int i = 0; i < 4; i++)
        base[i] = measure(call_plain, NULL, &sets[i]);
    printf("%-44s%16s%16s%16s%16s\n", "ns for each call (times the C call)", "no arguments",
           "3 ints", "3 arrays", "3 DLTensor*");
    print_row("C function through a pointer", call_plain, NULL, sets, base);
    print_row("tvm_function_call, function of the runtime", call_modern, modern, sets, base);
    print_row("tvm_function_call, compiled function", call_modern, library, sets, base);
    print_row("tvm_function_call, callback of the host", call_modern, host, sets, base);
    print_row("TVMFuncCall, function of the runtime", call_classic, modern, sets, base);
    print_row("TVMFuncCall, compiled function", call_classic, library, sets, base);
    print_row("TVMFuncCall, callback of the host", call_classic, host, sets, base);
    for (int i = 0; i < ARGS; i++)
        tvm_object_release(&tensors[i]->object);
    tvm_object_release(&modern->object);
    tvm_object_release(&library->object);
    tvm_object_release(&host->object);
    return 0;
}
