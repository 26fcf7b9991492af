/* What the compiler wrote down about parameters: texts that it puts before its own messages. */
#include "relax/vm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool skip(struct tvm_bytes *text, const char *prefix) {
    size_t size = strlen(prefix);
    if (text->size < size || memcmp(text->data, prefix, size) != 0)
        return false;
    text->data += size;
    text->size -= size;
    return true;
}

/* The text up to end, which is skipped too; all of it where end does not come. */
static struct tvm_bytes take(struct tvm_bytes *text, const char *end) {
    const char *found = memmem(text->data, text->size, end, strlen(end));
    struct tvm_bytes part = {text->data, found ? (size_t)(found - text->data) : text->size};
    size_t used = part.size + (found ? strlen(end) : 0);
    text->data += used;
    text->size -= used;
    return part;
}

/* "ErrorContext(fn=f, loc=param[0], param=x, annotation=T) " in parts; those that it lacks are
 * empty. False for another text. */
struct error_context {
    struct tvm_bytes function, place, param, annotation;
};

static bool parse_context(struct tvm_bytes text, struct error_context *out) {
    *out = (struct error_context){{"", 0}, {"", 0}, {"", 0}, {"", 0}};
    if (!skip(&text, "ErrorContext("))
        return false;
    if (skip(&text, "fn="))
        out->function = take(&text, ", ");
    if (skip(&text, "loc="))
        out->place = take(&text, ", ");
    if (skip(&text, "param="))
        out->param = take(&text, ", ");
    if (!skip(&text, "annotation=") && !skip(&text, "match_cast, ty=") &&
        !skip(&text, "match_cast, struct_info="))
        return out->function.size > 0;
    while (text.size && text.data[text.size - 1] == ' ')
        text.size--;
    if (text.size && text.data[text.size - 1] == ')')
        text.size--;
    out->annotation = text;
    return true;
}

/* A decimal number below 10^18, and nothing behind it. */
static bool parse_number(struct tvm_bytes text, int64_t *out) {
    *out = 0;
    if (text.size == 0 || text.size > 18)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        *out = *out * 10 + (text.data[i] - '0');
    }
    return true;
}

/* A dimension as TVM prints it: 16, T.int64(16), or an expression, which is not fixed. */
static int64_t parse_dimension(struct tvm_bytes text) {
    int64_t number;
    if (skip(&text, "T.int64("))
        text = take(&text, ")");
    return parse_number(text, &number) ? number : -1;
}

/* The end of the list that text begins in: its closing parenthesis. */
static size_t list_end(struct tvm_bytes text) {
    size_t depth = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '(')
            depth++;
        else if (text.data[i] == ')' && depth-- == 0)
            return i;
    }
    return text.size;
}

/* Dimensions behind "(", each with a comma between; a shape of one has a comma behind it. */
static int parse_shape(struct tvm_bytes list, struct tvm_relax_info *info) {
    int64_t dims[TVM_MAX_NDIM];
    int ndim = 0;
    while (list.size) {
        struct tvm_bytes rest = list;
        size_t depth = 0, size = 0;
        for (; size < list.size && (depth || list.data[size] != ','); size++)
            depth += (size_t)(list.data[size] == '(') - (size_t)(list.data[size] == ')');
        rest.size = size;
        if (ndim == TVM_MAX_NDIM)
            return 0;
        dims[ndim++] = parse_dimension(rest);
        size += size < list.size;
        while (size < list.size && list.data[size] == ' ')
            size++;
        list.data += size;
        list.size -= size;
    }
    info->ndim = ndim;
    if (ndim == 0)
        return 0;
    int64_t *shape = malloc((size_t)ndim * sizeof(int64_t));
    if (!shape)
        return tvm_raise_out_of_memory();
    memcpy(shape, dims, (size_t)ndim * sizeof(int64_t));
    info->shape = shape;
    return 0;
}

/* R.Tensor((1, n), dtype="float32") or R.Tensor(dtype="float32", ndim=2). A text that is not
 * understood leaves things unknown. */
static int parse_tensor(struct tvm_bytes text, struct tvm_relax_info *info) {
    int64_t ndim;
    if (skip(&text, "(")) {
        struct tvm_bytes list = {text.data, list_end(text)};
        text.data += list.size;
        text.size -= list.size;
        if (!skip(&text, ")"))
            return 0;
        skip(&text, ", ");
        if (parse_shape(list, info))
            return -1;
    }
    if (!skip(&text, "dtype=\""))
        return 0;
    struct tvm_bytes dtype = take(&text, "\"");
    struct tvm_error *before = tvm_error_take();
    int status = tvm_dtype_parse(dtype.data, dtype.size, &info->dtype);
    tvm_error_drop(before);
    if (status)
        return 0;
    info->is_tensor = true;
    if (info->ndim < 0 && skip(&text, ", ndim=") && parse_number(take(&text, ")"), &ndim) &&
        ndim <= TVM_MAX_NDIM)
        info->ndim = (int)ndim;
    return 0;
}

static int fill(struct tvm_relax_info *info, struct tvm_bytes annotation) {
    if (info->annotation.size || !annotation.size)
        return 0; /* each place has one text, and is checked more than once */
    info->annotation = annotation;
    return skip(&annotation, "R.Tensor(") ? parse_tensor(annotation, info) : 0;
}

/* The info of a context's place in function. */
static struct tvm_relax_info *find_place(struct vm_function *function, struct tvm_bytes place) {
    int64_t index;
    if (place.size == 6 && memcmp(place.data, "return", 6) == 0)
        return &function->infos[function->param_count];
    if (!skip(&place, "param[") || !parse_number(take(&place, "]"), &index) ||
        index >= function->param_count)
        return NULL;
    return &function->infos[index];
}

int tvm_vm_infos_read(struct tvm_relax_executable *executable) {
    for (uint32_t i = 0; i < executable->constant_count; i++) {
        struct error_context context;
        struct tvm_bytes text;
        if (!tvm_value_text(&executable->literals[i], &text) || !parse_context(text, &context))
            continue;
        struct vm_function *function = tvm_vm_find_function(executable, context.function);
        if (!function || !function->infos)
            continue;
        struct tvm_relax_info *info = find_place(function, context.place);
        if (info && fill(info, context.annotation))
            return -1;
    }
    return 0;
}

/* Messages about values that do not fit */

enum { TEXT_SIZE = TVM_SHAPE_TEXT_SIZE + TVM_DTYPE_TEXT_SIZE };

/* "float32 [1, 16]", "Shape [4]", "int" …, for messages. */
static const char *describe(const struct tvm_value *value, char *buffer) {
    char shape[TVM_SHAPE_TEXT_SIZE], dtype[TVM_DTYPE_TEXT_SIZE];
    const DLTensor *dl = tvm_vm_tensor_of(value);
    if (dl) {
        snprintf(buffer, TEXT_SIZE, "%s %s", tvm_dtype_print(dl->dtype, dtype),
                 tvm_shape_print(dl->shape, dl->ndim, shape, sizeof(shape)));
    } else if (value->type_index == TVM_TYPE_SHAPE) {
        const struct tvm_shape *it = (const struct tvm_shape *)value->v_object;
        int ndim = it->size > TVM_MAX_NDIM ? TVM_MAX_NDIM : (int)it->size;
        snprintf(buffer, TEXT_SIZE, "Shape %s",
                 tvm_shape_print(it->data, ndim, shape, sizeof(shape)));
    } else if (value->type_index == TVM_TYPE_ARRAY) {
        snprintf(buffer, TEXT_SIZE, "a tuple of %lld",
                 (long long)((const struct tvm_array *)value->v_object)->size);
    } else {
        snprintf(buffer, TEXT_SIZE, "%s", tvm_type_name(value->type_index));
    }
    return buffer;
}

static int shown(struct tvm_bytes text) {
    return (int)(text.size < 300 ? text.size : 300);
}

int tvm_vm_mismatch(const struct tvm_call *call, const char *kind, int32_t index,
                    const char *expected, const struct tvm_value *value) {
    struct error_context context = {{"", 0}, {"", 0}, {"", 0}, {"", 0}};
    struct tvm_bytes text = {"", 0};
    char got[TEXT_SIZE], where[160] = "";
    if (index < call->count && tvm_value_text(&call->args[index], &text) && text.size &&
        !parse_context(text, &context))
        return tvm_raise(kind, "%.*s: expected %s, got %s", shown(text), text.data, expected,
                         describe(value, got));
    struct tvm_bytes place = context.place;
    int64_t argument;
    if (skip(&place, "param[") && parse_number(take(&place, "]"), &argument))
        snprintf(where, sizeof(where), ": argument %lld (%.*s)", (long long)argument,
                 shown(context.param), context.param.data);
    else if (context.place.size)
        snprintf(where, sizeof(where), ": %.*s", shown(context.place), context.place.data);
    if (!context.function.size)
        context.function = (struct tvm_bytes){call->name, strlen(call->name)};
    if (!context.annotation.size)
        return tvm_raise(kind, "%.*s%s: expected %s, got %s", shown(context.function),
                         context.function.data, where, expected, describe(value, got));
    return tvm_raise(kind, "%.*s%s: expected %.*s, got %s", shown(context.function),
                     context.function.data, where, shown(context.annotation),
                     context.annotation.data, describe(value, got));
}
