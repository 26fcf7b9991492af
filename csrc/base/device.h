/* The device interface: what the runtime asks of a kind of device. One struct of functions for each
 * kind, listed in the table tvm_devices (csrc/tables.c); nothing else in the runtime knows a device
 * by name. All functions may be called from any thread. What a thread asks of one device, kernels
 * too, happens in that order; only copies from and to the host, and sync, wait for it.
 *
 * A new kind is a folder in csrc/device: a struct tvm_device_api, and for the kernels in compiled
 * libraries a struct tvm_module_kind (base/module.h), whose functions launch them on the device
 * that select chose. Both are listed in csrc/tables.c, the folder in Makefile's SOURCES, and, for
 * Go, in a file such as csrc/opencl.go. csrc/test/test_device.c then tests what is said here. */
#ifndef TVM_BASE_DEVICE_H
#define TVM_BASE_DEVICE_H

#include "base/value.h"

/* Tensor data and workspaces start at a multiple of this: the most that any TVM version assumes. */
enum { TVM_ALIGNMENT = 128 };

/* A place in a device's memory. data is what tensors on it hold: an address, or a handle to which
 * byte offsets cannot be added. */
struct tvm_place {
    DLDevice device;
    void *data;
    size_t offset;
};

struct tvm_device_api {
    DLDeviceType type;
    const char *name; /* as users write it: "cpu" */
    bool addressable; /* alloc gives addresses that the host may read and write */

    /* How many there are. Of the CPU 1: its ids are mere labels. */
    int (*count)(void);

    /* NotFoundError, saying what to install, when there is no device with this id. */
    int (*check)(DLDevice device);

    /* What compiled code asks of this thread until it selects another one is for this device. NULL
     * where that makes no difference. */
    int (*select)(DLDevice device);

    /* nbytes > 0 at a multiple of TVM_ALIGNMENT, contents undefined. MemoryError when exhausted. */
    int (*alloc)(DLDevice device, size_t nbytes, void **out);
    /* Kernels and copies that were asked for before may still use the memory. */
    void (*free)(DLDevice device, void *data);

    int (*zero)(struct tvm_place place, size_t nbytes);

    /* Copies between two places of one device, or one of it and one in host memory (device type
     * kDLCPU). Host memory may be reused on return. The ranges do not overlap, or are the same. */
    int (*copy)(struct tvm_place from, struct tvm_place to, size_t nbytes);

    /* Waits until everything that was asked of the device is done. */
    int (*sync)(DLDevice device);

    /* What the kernels that this thread launches on the device, between start_timer and stop_timer,
     * take there by the device's own clock: nanoseconds, added up. A launch may wait for its kernel
     * meanwhile; those of other threads go on as ever. Timers of a thread may be nested. On CUDA:
     * an event in the stream at the start, one at the end, and what cuEventElapsedTime says. NULL
     * where kernels run in the thread that calls them: the host's clock says it all. */
    int (*start_timer)(DLDevice device, void **timer);
    /* The timer of this thread that was started last; it is gone then, also on an error. */
    int (*stop_timer)(void *timer, int64_t *nanos);

    /* Temporary memory of compiled code: freed before the function that asked returns, usually in
     * reverse order, on the same thread, when its kernels have been asked for but may still run. */
    int (*alloc_workspace)(DLDevice device, size_t nbytes, void **out);
    int (*free_workspace)(DLDevice device, void *data);

    /* Value of TVM's device attribute number kind, such as those below; None where it has none. */
    int (*attribute)(DLDevice device, int64_t kind, struct tvm_value *out);
};

enum {
    TVM_DEVICE_EXISTS = 0,
    TVM_DEVICE_NAME = 5,       /* for people */
    TVM_DEVICE_PROCESSORS = 7, /* that work at the same time */
    TVM_DEVICE_MEMORY = 14,    /* bytes */
};

/* Ends with NULL. */
extern const struct tvm_device_api *const tvm_devices[];

/* The interface of device, after check() said that it is there. TypeError for a kind that this
 * build does not know. */
int tvm_device_get(DLDevice device, const struct tvm_device_api **out);

/* Copies nbytes between any two devices. ValueError when a place has no data. */
int tvm_device_copy(struct tvm_place from, struct tvm_place to, size_t nbytes);

/* "cpu(0)", for messages, into buffer of TVM_DEVICE_TEXT_SIZE bytes. */
enum { TVM_DEVICE_TEXT_SIZE = 40 };
const char *tvm_device_print(DLDevice device, char *buffer);

static inline bool tvm_device_equal(DLDevice a, DLDevice b) {
    return a.device_type == b.device_type && a.device_id == b.device_id;
}

#endif
