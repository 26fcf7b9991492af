#include "graph/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 64 };
#define MAX_EXACT (INT64_C(1) << 53) /* beyond, doubles do not hold every integer */

static int fail_at(size_t pos, const char *what) {
    return tvm_raise(TVM_FORMAT_ERROR, "byte %zu: %s", pos, what);
}

/* Checks the string that begins behind the quote at *pos; leaves *pos at its closing quote. */
static int scan_string(const char *text, size_t size, size_t *pos) {
    size_t start = *pos;
    for (size_t i = start + 1; i < size; i++) {
        switch (text[i]) {
        case '"':
            *pos = i;
            return 0;
        case '\0':
            return fail_at(i, "a NUL character");
        case '\n':
        case '\r':
            return fail_at(i, "a line break inside a string");
        case '\\':
            if (size - i > 5 && memcmp(text + i, "\\u0000", 6) == 0)
                return fail_at(i, "a NUL character inside a string");
            i++;
            if (i < size && text[i] == '\0')
                return fail_at(i, "a NUL character");
            break;
        default:
            break;
        }
    }
    return fail_at(start, "the string that begins here does not end");
}

/* What cJSON would let through or answer with deep recursion. */
static int scan(const char *text, size_t size) {
    int depth = 0;
    for (size_t i = 0; i < size; i++) {
        switch (text[i]) {
        case '"':
            if (scan_string(text, size, &i))
                return -1;
            break;
        case '\0':
            return fail_at(i, "a NUL character");
        case '[':
        case '{':
            if (++depth > MAX_DEPTH)
                return fail_at(i, "nested deeper than 64 levels");
            break;
        case ']':
        case '}':
            depth--;
            break;
        default:
            break;
        }
    }
    return 0;
}

int tvm_json_parse(const char *text, size_t size, cJSON **out) {
    if (scan(text, size))
        return -1;
    /* A copy with NULs at the end: some releases of cJSON look one character beyond the length. */
    char *copy = size > SIZE_MAX - 2 ? NULL : malloc(size + 2);
    if (!copy)
        return tvm_raise_out_of_memory();
    if (size)
        memcpy(copy, text, size);
    copy[size] = copy[size + 1] = '\0';
    const char *end = copy;
    cJSON *json = cJSON_ParseWithOpts(copy, &end, true);
    size_t stop = end && end >= copy ? (size_t)(end - copy) : 0;
    free(copy);
    if (!json) {
        if (stop >= size)
            return fail_at(size, "the text ends too early");
        return fail_at(stop, "this is not JSON, or text behind the end");
    }
    *out = json;
    return 0;
}

int tvm_json_expected(const cJSON *item, const char *expected) {
    if (!item)
        return tvm_raise(TVM_FORMAT_ERROR, "expected %s, got nothing", expected);
    if (cJSON_IsString(item))
        return tvm_raise(TVM_FORMAT_ERROR, "expected %s, got the string \"%.60s\"", expected,
                         item->valuestring);
    if (cJSON_IsNumber(item))
        return tvm_raise(TVM_FORMAT_ERROR, "expected %s, got %.17g", expected, item->valuedouble);
    return tvm_raise(TVM_FORMAT_ERROR, "expected %s, got %s", expected,
                     cJSON_IsArray(item)    ? "an array"
                     : cJSON_IsObject(item) ? "an object"
                     : cJSON_IsBool(item)   ? "a boolean"
                                            : "null");
}

int tvm_json_int(const cJSON *item, int64_t min, int64_t max, int64_t *out) {
    double value = cJSON_IsNumber(item) ? item->valuedouble : 0.5;
    if (value > -(double)MAX_EXACT && value < (double)MAX_EXACT) {
        *out = (int64_t)value;
        if ((double)*out == value && *out >= min && *out <= max)
            return 0;
    }
    char expected[80];
    snprintf(expected, sizeof(expected), "an integer from %" PRId64 " to %" PRId64, min,
             max < MAX_EXACT ? max : MAX_EXACT - 1);
    return tvm_json_expected(item, expected);
}

int tvm_json_string(const cJSON *item, struct tvm_bytes *out) {
    if (!cJSON_IsString(item) || !item->valuestring)
        return tvm_json_expected(item, "a string");
    *out = (struct tvm_bytes){item->valuestring, strlen(item->valuestring)};
    return 0;
}

int tvm_json_object(const cJSON *item) {
    return cJSON_IsObject(item) ? 0 : tvm_json_expected(item, "an object");
}

int tvm_json_array(const cJSON *item, size_t *count) {
    if (!cJSON_IsArray(item))
        return tvm_json_expected(item, "an array");
    if (count) {
        *count = 0;
        for (const cJSON *child = item->child; child; child = child->next)
            ++*count;
    }
    return 0;
}

int tvm_json_members(const cJSON *object, const struct tvm_json_member *members) {
    if (tvm_json_object(object))
        return -1;
    const struct tvm_json_member *member;
    for (member = members; member->key; member++)
        *member->item = NULL;
    const cJSON *child;
    cJSON_ArrayForEach(child, object) {
        for (member = members; member->key && strcmp(member->key, child->string) != 0;)
            member++;
        if (!member->key)
            continue;
        if (*member->item)
            return tvm_raise(TVM_FORMAT_ERROR, "\"%s\" is there twice", member->key);
        *member->item = child;
    }
    for (member = members; member->key; member++)
        if (member->required && !*member->item)
            return tvm_raise(TVM_FORMAT_ERROR, "\"%s\" is missing", member->key);
    return 0;
}
