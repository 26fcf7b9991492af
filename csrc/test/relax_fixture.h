/* What the tests of Relax models share: the artifacts in the folder relax of the test data (zoo.h),
 * with the calls to make and what the compiler's references say. */
#ifndef TVM_TEST_RELAX_FIXTURE_H
#define TVM_TEST_RELAX_FIXTURE_H

#include "base/container.h"
#include "relax/relax.h"

#include <cjson/cJSON.h>

/* The path of a case's file; valid as long as one of zoo_path. */
const char *relax_path(const char *folder, const char *file);

/* manifest.json, to be deleted. This and what opens models ends the test where they are for another
 * machine. */
cJSON *relax_manifest(void);

/* The first item of a list or object, NULL when there is none; the others follow by ->next. */
static inline const cJSON *relax_first(const cJSON *list) {
    return list ? list->child : NULL;
}

/* Whether an entry of the manifest is a model that runs on this machine. */
bool relax_runs_here(const cJSON *entry);

/* A file of tensors, as a map to be released. */
struct tvm_map *relax_tensors(const char *folder, const char *file);

/* A value of the manifest, owned: {"tensor": name} from reference, {"param": name} from params,
 * {"tuple": []}, {"shape": []}, {"int": 1}, {"float": 0.5}, {"bool": true}, {"string": "x"}. */
struct tvm_value relax_value(const cJSON *description, struct tvm_map *reference,
                             struct tvm_map *params);

/* Fails unless value is what description says, with numbers within rtol and atol. */
void relax_expect(const char *where, const struct tvm_value *value, const cJSON *description,
                  struct tvm_map *reference, double rtol, double atol);

/* Opens the library folder/file: the executable, a reference that keeps it open. */
struct tvm_relax_executable *relax_open(const char *folder, const char *file);

/* The bytes of the blob of folder/model.so, and of the executable in it, to be freed. */
unsigned char *relax_blob(const char *folder, size_t *size);
unsigned char *relax_payload(const char *folder, size_t *size);

/* Reads an executable, alone, from a block of just these bytes, as "m.so"; all must be read. */
int relax_load(const unsigned char *data, size_t size, struct tvm_module **out);

/* A session on cpu(0). */
struct tvm_relax_session *relax_session(struct tvm_relax_executable *executable);

/* The index of a function that is there. */
size_t relax_function(const struct tvm_relax_executable *executable, const char *name);

/* A value that must be a tensor, and the numbers of one that must be on the CPU. */
struct tvm_tensor *relax_tensor_of(const struct tvm_value *value);
const float *relax_floats(const struct tvm_value *value);

/* float32 [rows, columns] of one number, on cpu(0). */
struct tvm_value relax_filled(int64_t rows, int64_t columns, float number);

/* Registers the functions that the artifact "callback" calls. */
void relax_register_callbacks(void);

#endif
