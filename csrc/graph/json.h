/* JSON that cannot be trusted: cJSON's parser behind checks of what it lets through, and typed
 * access whose messages say what was expected and what is there. */
#ifndef TVM_GRAPH_JSON_H
#define TVM_GRAPH_JSON_H

#include "base/error.h"

#include <stdbool.h>

#if defined(__has_include)
#if !__has_include(<cjson/cJSON.h>)
#error "cjson/cJSON.h is missing: install libcjson-dev"
#endif
#endif
#include <cjson/cJSON.h>

/* Parses size bytes; free the result with cJSON_Delete. FormatError with the byte of the fault for
 * anything that is no JSON, and for what is no name or number to us: NUL characters (also as
 * \u0000), line breaks inside strings, nesting beyond 64, text behind the value. */
int tvm_json_parse(const char *text, size_t size, cJSON **out);

/* Raises FormatError "expected <expected>, got <what item is>"; item may be NULL: "nothing". */
int tvm_json_expected(const cJSON *item, const char *expected);

/* An integer from min to max. */
int tvm_json_int(const cJSON *item, int64_t min, int64_t max, int64_t *out);
/* A string; borrowed from item. */
int tvm_json_string(const cJSON *item, struct tvm_bytes *out);
int tvm_json_object(const cJSON *item);
/* An array; *count may be NULL. */
int tvm_json_array(const cJSON *item, size_t *count);

/* A member of an object: where tvm_json_members puts it. */
struct tvm_json_member {
    const char *key;
    const cJSON **item; /* NULL unless it is there */
    bool required;
};
/* Finds the members of object in one pass; members ends with a NULL key. FormatError for a required
 * one that is missing and for one that is there twice; other members are ignored. */
int tvm_json_members(const cJSON *object, const struct tvm_json_member *members);

#endif
