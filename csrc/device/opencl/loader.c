/* Finding the OpenCL loader, and its devices. */
#include "base/os.h"
#include "device/opencl/config.h"
#include "device/opencl/runtime.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOADER "libOpenCL.so.1"
#define INSTALL                                                                                    \
    "install the driver of the device (for CPUs Debian has pocl-opencl-icd), and "                 \
    "ocl-icd-libopencl1, the loader"

struct opencl_functions tvm_cl;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t open_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct opencl_device devices[OPENCL_MAX_DEVICES];
static int device_count;
static char absence[500]; /* why there is no device */
static _Thread_local int selected;

/* Errors */

static const char *code_name(cl_int code) {
    static const struct {
        cl_int code;
        const char *name;
    } names[] = {
#define NAME(code) {code, #code}
        NAME(CL_MEM_OBJECT_ALLOCATION_FAILURE),
        NAME(CL_OUT_OF_RESOURCES),
        NAME(CL_OUT_OF_HOST_MEMORY),
        NAME(CL_BUILD_PROGRAM_FAILURE),
        NAME(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST),
        NAME(CL_INVALID_VALUE),
        NAME(CL_INVALID_MEM_OBJECT),
        NAME(CL_INVALID_KERNEL_NAME),
        NAME(CL_INVALID_ARG_SIZE),
        NAME(CL_INVALID_KERNEL_ARGS),
        NAME(CL_INVALID_WORK_GROUP_SIZE),
        NAME(CL_INVALID_BUFFER_SIZE),
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (names[i].code == code)
            return names[i].name;
    return "OpenCL error";
}

int tvm_opencl_raise(cl_int code, const char *format, ...) {
    char text[400];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    bool memory = code == CL_MEM_OBJECT_ALLOCATION_FAILURE || code == CL_OUT_OF_RESOURCES ||
                  code == CL_OUT_OF_HOST_MEMORY || code == CL_INVALID_BUFFER_SIZE;
    return tvm_raise(memory ? TVM_MEMORY_ERROR : TVM_RUNTIME_ERROR, "%s: %s (%d)", text,
                     code_name(code), code);
}

const char *tvm_opencl_text(cl_device_id device, cl_device_info what, char *buffer, size_t size) {
    size_t used = 0;
    char *text = NULL;
    *buffer = '\0';
    if (tvm_cl.clGetDeviceInfo(device, what, 0, NULL, &used) == CL_SUCCESS && used > 0 &&
        (text = malloc(used)) &&
        tvm_cl.clGetDeviceInfo(device, what, used, text, NULL) == CL_SUCCESS)
        snprintf(buffer, size, "%.*s", (int)used, text);
    free(text);
    return buffer;
}

/* Discovery */

static bool load_functions(void) {
    if (tvm_os_is_static()) {
        snprintf(absence, sizeof(absence), TVM_OS_STATIC " such as " LOADER);
        return false;
    }
    void *library = dlopen(LOADER, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        snprintf(absence, sizeof(absence), LOADER " cannot be opened: " INSTALL);
        return false;
    }
    const char *missing = NULL;
#define LOAD(name)                                                                                 \
    *(void **)&tvm_cl.name = dlsym(library, #name);                                                \
    if (!tvm_cl.name)                                                                              \
        missing = #name;
    CL_FUNCTIONS(LOAD)
    if (missing) {
        snprintf(absence, sizeof(absence), LOADER " is older than OpenCL 1.2: it has no %s",
                 missing);
        dlclose(library);
    }
    return !missing;
}

/* Whether platform's name contains what was chosen. */
static bool is_wanted(cl_platform_id platform, const char *wanted) {
    char name[OPENCL_NAME_SIZE] = "";
    return !*wanted || (tvm_cl.clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof(name) - 1, name,
                                                 NULL) == CL_SUCCESS &&
                        strcasestr(name, wanted));
}

static bool is_recent(cl_device_id device) {
    char version[64];
    int major = 0, minor = 0;
    tvm_opencl_text(device, CL_DEVICE_VERSION, version, sizeof(version));
    return sscanf(version, "OpenCL %d.%d", &major, &minor) == 2 &&
           (major > 1 || (major == 1 && minor >= 2));
}

static void add_devices(cl_platform_id platform, cl_device_type type) {
    cl_device_id ids[OPENCL_MAX_DEVICES];
    cl_uint count = 0;
    if (tvm_cl.clGetDeviceIDs(platform, type, OPENCL_MAX_DEVICES, ids, &count))
        return;
    for (cl_uint i = 0; i < count && i < OPENCL_MAX_DEVICES; i++) {
        struct opencl_device *device = &devices[device_count];
        if (device_count == OPENCL_MAX_DEVICES || !is_recent(ids[i]))
            continue;
        device->number = device_count++;
        device->platform = platform;
        device->id = ids[i];
        tvm_opencl_text(ids[i], CL_DEVICE_NAME, device->name, sizeof(device->name));
        pthread_mutex_init(&device->mutex, NULL);
    }
}

/* The types of device to look for, one after the other until there are some; ends with 0. */
static bool wanted_types(const struct opencl_choice *chosen, cl_device_type types[3]) {
    types[0] = CL_DEVICE_TYPE_GPU;
    types[1] = CL_DEVICE_TYPE_CPU;
    types[2] = 0;
    if (!*chosen->text)
        return true;
    types[1] = 0;
    if (tvm_opencl_parse_type(chosen->text, &types[0]))
        return true;
    snprintf(absence, sizeof(absence), "%s is \"%.40s\": expected gpu, cpu, accelerator or all",
             chosen->origin, chosen->text);
    return false;
}

static void explain_absence(const struct opencl_config *config, cl_uint platforms) {
    const struct opencl_choice *choices[] = {&config->type, &config->platform};
    char chosen[2][120] = {"", ""};
    for (size_t i = 0; i < 2; i++)
        if (*choices[i]->text)
            snprintf(chosen[i], sizeof(chosen[i]), ", %s=%.60s", choices[i]->origin,
                     choices[i]->text);
    snprintf(absence, sizeof(absence),
             "there is no such device among %u OpenCL platforms%s%s: " INSTALL, platforms,
             chosen[0], chosen[1]);
}

static void discover(void) {
    enum { MAX_PLATFORMS = 32 };
    const struct opencl_config *config = tvm_opencl_config();
    cl_platform_id platforms[MAX_PLATFORMS];
    cl_device_type types[3];
    cl_uint count = 0;
    if (!load_functions() || !wanted_types(&config->type, types))
        return;
    if (*config->bad_limit) {
        snprintf(absence, sizeof(absence), "GOTVM_OPENCL_CACHE_MIB is \"%s\": expected a number",
                 config->bad_limit);
        return;
    }
    if (tvm_cl.clGetPlatformIDs(MAX_PLATFORMS, platforms, &count))
        count = 0;
    if (count > MAX_PLATFORMS)
        count = MAX_PLATFORMS;
    for (size_t t = 0; types[t] && device_count == 0; t++)
        for (cl_uint p = 0; p < count; p++)
            if (is_wanted(platforms[p], config->platform.text))
                add_devices(platforms[p], types[t]);
    if (device_count == 0)
        explain_absence(config, count);
}

int tvm_opencl_count(void) {
    pthread_once(&once, discover);
    return device_count;
}

int tvm_opencl_check(DLDevice device) {
    int count = tvm_opencl_count();
    if (device.device_id >= 0 && device.device_id < count)
        return 0;
    if (count == 0)
        return tvm_raise(TVM_NOT_FOUND_ERROR, "opencl(%d): %s", device.device_id, absence);
    return tvm_raise(TVM_NOT_FOUND_ERROR,
                     "opencl(%d): there is no such device: the %d that there %s from opencl(0) on",
                     device.device_id, count, count == 1 ? "is counts" : "are count");
}

int tvm_opencl_select(DLDevice device) {
    selected = device.device_id;
    return 0;
}

int tvm_opencl_selected(void) {
    return selected;
}

/* A context for all devices of a platform, or the one that was made before. */
static int make_context(struct opencl_device *device) {
    cl_device_id ids[OPENCL_MAX_DEVICES];
    cl_uint count = 0;
    cl_int code;
    for (int i = 0; i < device_count; i++) {
        if (devices[i].platform != device->platform)
            continue;
        ids[count++] = devices[i].id;
        if (devices[i].context)
            device->context = devices[i].context;
    }
    if (device->context)
        return 0;
    cl_context_properties properties[] = {CL_CONTEXT_PLATFORM,
                                          (cl_context_properties)device->platform, 0};
    device->context = tvm_cl.clCreateContext(properties, count, ids, NULL, NULL, &code);
    return device->context
               ? 0
               : tvm_opencl_raise(code, "opencl(%d), %s: no context", device->number, device->name);
}

int tvm_opencl_find(int id, struct opencl_device **out) {
    if (tvm_opencl_check((DLDevice){kDLOpenCL, id}))
        return -1;
    *out = &devices[id];
    return 0;
}

int tvm_opencl_open(int id, struct opencl_device **out) {
    if (tvm_opencl_find(id, out))
        return -1;
    struct opencl_device *device = *out;
    if (atomic_load_explicit(&device->ready, memory_order_acquire))
        return 0;
    int status = 0;
    cl_int code;
    pthread_mutex_lock(&open_mutex);
    if (!device->queue && (status = make_context(device)) == 0) {
        device->queue = tvm_cl.clCreateCommandQueue(device->context, device->id, 0, &code);
        if (!device->queue)
            status = tvm_opencl_raise(code, "opencl(%d), %s: no queue", id, device->name);
    }
    if (status == 0)
        atomic_store_explicit(&device->ready, true, memory_order_release);
    pthread_mutex_unlock(&open_mutex);
    return status;
}
