#include "device/opencl/config.h"

#include "device/opencl/opencl_device.h"
#include "device/opencl/runtime.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define OPTION "opencl.Configure"

enum { DEFAULT_LIMIT_MIB = 256 };

/* Guards config until it is fixed. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static bool fixed;

/* Before that, of the cache: whether the program wants none, its folder and its size; "" and 0
 * where it leaves them to the environment. */
static struct opencl_config config;
static bool no_cache;

bool tvm_opencl_parse_type(const char *text, uint64_t *out) {
    static const struct {
        const char *name;
        cl_device_type type;
    } known[] = {{"gpu", CL_DEVICE_TYPE_GPU},
                 {"cpu", CL_DEVICE_TYPE_CPU},
                 {"accelerator", CL_DEVICE_TYPE_ACCELERATOR},
                 {"all", CL_DEVICE_TYPE_ALL}};
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
        if (strcasecmp(text, known[i].name) == 0) {
            *out = known[i].type;
            return true;
        }
    return false;
}

/* A variable of the environment; NULL for one that is empty too. */
static const char *variable(const char *name) {
    const char *text = getenv(name);
    return text && *text ? text : NULL;
}

static void resolve_choice(struct opencl_choice *choice, const char *name) {
    const char *text = variable(name);
    if (*choice->text || !text)
        return;
    snprintf(choice->text, sizeof(choice->text), "%s", text);
    choice->origin = name;
}

/* gotvm/opencl in the user's folder for caches, by the XDG Base Directory Specification. */
static int default_folder(char *out, size_t size) {
    const char *caches = variable("XDG_CACHE_HOME"), *home = variable("HOME");
    if (caches && *caches == '/')
        return snprintf(out, size, "%s/gotvm/opencl", caches);
    return home && *home == '/' ? snprintf(out, size, "%s/.cache/gotvm/opencl", home) : 0;
}

static void resolve_limit(void) {
    const char *text = variable("GOTVM_OPENCL_CACHE_MIB");
    char *end = "";
    if (config.cache_limit)
        return;
    unsigned long long mib = text ? strtoull(text, &end, 10) : DEFAULT_LIMIT_MIB;
    if (text && (*text < '0' || *text > '9' || *end))
        snprintf(config.bad_limit, sizeof(config.bad_limit), "%s", text);
    config.cache_limit = mib < SIZE_MAX >> 20 ? (size_t)mib << 20 : SIZE_MAX;
}

/* The folder is made absolute, so that it stays the same when the program changes its own. */
static void resolve_folder(void) {
    const char *text = variable("GOTVM_OPENCL_CACHE");
    char chosen[PATH_MAX], here[PATH_MAX];
    int length;
    memcpy(chosen, config.cache_folder, sizeof(chosen));
    if (!*chosen && text && strcmp(text, "off") != 0)
        snprintf(chosen, sizeof(chosen), "%s", text);
    if (!*chosen)
        length = text ? 0 : default_folder(config.cache_folder, sizeof(config.cache_folder));
    else if (*chosen == '/')
        length = snprintf(config.cache_folder, sizeof(config.cache_folder), "%s", chosen);
    else
        length =
            getcwd(here, sizeof(here))
                ? snprintf(config.cache_folder, sizeof(config.cache_folder), "%s/%s", here, chosen)
                : 0;
    if (no_cache || !config.cache_limit || length <= 0 || length >= PATH_MAX)
        *config.cache_folder = '\0';
}

const struct opencl_config *tvm_opencl_config(void) {
    pthread_mutex_lock(&mutex);
    if (!fixed) {
        resolve_choice(&config.type, "GOTVM_OPENCL_TYPE");
        resolve_choice(&config.platform, "GOTVM_OPENCL_PLATFORM");
        resolve_limit();
        resolve_folder();
        fixed = true;
    }
    pthread_mutex_unlock(&mutex);
    return &config;
}

/* Argument index, as text that fits a buffer of size bytes. */
static int read_text(const struct tvm_call *call, int32_t index, const char *what, char *out,
                     size_t size) {
    struct tvm_bytes text;
    if (tvm_call_text(call, index, what, &text))
        return -1;
    if (text.size >= size || memchr(text.data, 0, text.size))
        return tvm_raise(TVM_VALUE_ERROR, OPTION ": the %s is no text of less than %zu bytes", what,
                         size);
    memcpy(out, text.data, text.size);
    out[text.size] = '\0';
    return 0;
}

static int read_options(const struct tvm_call *call, struct opencl_config *out, int64_t *limit) {
    uint64_t type;
    *out =
        (struct opencl_config){.type.origin = "chosen type", .platform.origin = "chosen platform"};
    if (read_text(call, 0, "type", out->type.text, sizeof(out->type.text)) ||
        read_text(call, 1, "platform", out->platform.text, sizeof(out->platform.text)) ||
        read_text(call, 2, "cache's folder", out->cache_folder, sizeof(out->cache_folder)) ||
        tvm_call_int(call, 3, "cache's size", limit))
        return -1;
    if (*out->type.text && !tvm_opencl_parse_type(out->type.text, &type))
        return tvm_raise(TVM_VALUE_ERROR,
                         OPTION ": the type is \"%.40s\": expected gpu, cpu, accelerator or all",
                         out->type.text);
    if (*limit > 0)
        out->cache_limit = (uint64_t)*limit < SIZE_MAX ? (size_t)*limit : SIZE_MAX;
    return 0;
}

int tvm_opencl_configure(const struct tvm_call *call, struct tvm_value *result) {
    struct opencl_config options;
    int64_t limit;
    (void)result;
    if (read_options(call, &options, &limit))
        return -1;
    pthread_mutex_lock(&mutex);
    bool late = fixed;
    if (!late) {
        config = options;
        no_cache = limit < 0;
    }
    pthread_mutex_unlock(&mutex);
    return late ? tvm_raise(TVM_BUSY_ERROR,
                            OPTION ": OpenCL is in use: configure it before anything asks for its "
                                   "devices")
                : 0;
}
