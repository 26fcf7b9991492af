#include "relax/decode.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* TVM's operations, and the kinds of a call's arguments. */
enum { OP_CALL = 1, OP_RETURN = 2, OP_GOTO = 3, OP_IF = 4 };
enum { ARG_REGISTER = 0, ARG_IMMEDIATE = 1, ARG_CONSTANT = 2, ARG_FUNCTION = 3 };

#define FIRST_SPECIAL (INT64_C(1) << 54)
#define REGISTER_VOID FIRST_SPECIAL
#define REGISTER_MACHINE (FIRST_SPECIAL + 1)

struct decoder {
    struct tvm_relax_executable *executable;
    const struct decode_words *words;
    struct vm_function *function; /* the one at work */
    int64_t start, end;           /* its instructions */
    int64_t at;                   /* the one at work */
    int64_t heap_size;            /* of its shape heap, as far as it was made */
    uint32_t arg_count;           /* so far, of all functions */
    uint32_t literal_room;
};

#define FAIL(decoder, ...) fail(decoder, TVM_FORMAT_ERROR, __VA_ARGS__)

static int fail(const struct decoder *decoder, const char *kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int fail(const struct decoder *decoder, const char *kind, const char *format, ...) {
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return tvm_raise(kind, "function %s: instruction %lld: %s", decoder->function->name,
                     (long long)decoder->at, text);
}

/* A register that is read or written. */
static int check_register(const struct decoder *decoder, int64_t number, int32_t *out) {
    if (number < 0 || number >= decoder->function->register_count)
        return FAIL(decoder, "register %lld of %u", (long long)number,
                    decoder->function->register_count);
    *out = (int32_t)number;
    return 0;
}

/* Where a jump by offset instructions leads. */
static int check_jump(const struct decoder *decoder, int64_t offset, uint32_t *out) {
    int64_t target;
    if (__builtin_add_overflow(decoder->at, offset, &target) || target < decoder->start ||
        target >= decoder->end)
        return FAIL(decoder, "a jump by %lld leads out of it", (long long)offset);
    *out = (uint32_t)target;
    return 0;
}

static int add_immediate(struct decoder *decoder, int64_t value, int32_t *out) {
    struct tvm_relax_executable *executable = decoder->executable;
    if (executable->literal_count >= decoder->literal_room) {
        uint32_t room = decoder->literal_room * 2 + 64; /* both counts are below 2^26 */
        struct tvm_value *grown =
            realloc(executable->literals, room * sizeof(*executable->literals));
        if (!grown)
            return tvm_raise_out_of_memory();
        executable->literals = grown;
        decoder->literal_room = room;
    }
    executable->literals[executable->literal_count] = tvm_int(value);
    *out = ~(int32_t)executable->literal_count++;
    return 0;
}

static int64_t argument_value(int64_t word) {
    return (int64_t)((uint64_t)word << 8) >> 8;
}

static int decode_argument(struct decoder *decoder, int64_t word, int32_t *out) {
    const struct tvm_relax_executable *executable = decoder->executable;
    int64_t value = argument_value(word);
    switch ((uint64_t)word >> 56) {
    case ARG_REGISTER:
        if (value == REGISTER_VOID)
            *out = ~(int32_t)vm_literal_none(executable);
        else if (value == REGISTER_MACHINE)
            *out = ~(int32_t)vm_literal_machine(executable);
        else
            return check_register(decoder, value, out);
        return 0;
    case ARG_IMMEDIATE:
        return add_immediate(decoder, value, out);
    case ARG_CONSTANT:
        if (value < 0 || value >= executable->constant_count)
            return FAIL(decoder, "constant %lld of %u", (long long)value,
                        executable->constant_count);
        *out = ~(int32_t)value;
        return 0;
    case ARG_FUNCTION:
        if (value < 0 || value >= executable->function_count)
            return FAIL(decoder, "function %lld of %u", (long long)value,
                        executable->function_count);
        *out = ~(int32_t)vm_literal_function(executable, (uint32_t)value);
        return 0;
    default:
        return fail(decoder, TVM_UNSUPPORTED_ERROR,
                    "an argument of kind %d, which this build does not know",
                    (int)((uint64_t)word >> 56));
    }
}

/* An argument that is an immediate value. */
static bool immediate(const struct decoder *decoder, int32_t arg, int64_t *out) {
    const struct tvm_relax_executable *executable = decoder->executable;
    if (arg >= 0 || (uint32_t)~arg <= vm_literal_none(executable))
        return false;
    *out = executable->literals[~arg].v_int;
    return true;
}

/* Arguments from first on are pairs of a code and a number; of codes in uses_heap (a bit each) the
 * number is a slot of the shape heap. */
static int check_pairs(const struct decoder *decoder, const struct vm_instruction *call,
                       uint32_t first, int64_t pairs, int codes, unsigned uses_heap) {
    const int32_t *args = decoder->executable->args + call->args;
    if (pairs < 0 || call->arg_count < first || pairs > (call->arg_count - first) / 2)
        return FAIL(decoder, "%lld dimensions in a call with %u arguments", (long long)pairs,
                    call->arg_count);
    for (int64_t i = 0; i < pairs; i++) {
        int64_t code, slot;
        if (!immediate(decoder, args[first + i * 2], &code) ||
            !immediate(decoder, args[first + i * 2 + 1], &slot) || code < 0 || code >= codes)
            return FAIL(decoder, "dimension %lld has no code that is known", (long long)i);
        if ((uses_heap >> code & 1) && (slot < 0 || slot >= decoder->heap_size))
            return FAIL(decoder, "slot %lld of a shape heap with %lld", (long long)slot,
                        (long long)decoder->heap_size);
    }
    return 0;
}

/* What is known of the arguments of calls that use the shape heap. */
static int check_heap(struct decoder *decoder, const struct vm_instruction *call) {
    const char *name = decoder->executable->functions[call->target].name;
    const int32_t *args = decoder->executable->args + call->args;
    int64_t number = 0;
    if (strncmp(name, "vm.builtin.", 11) != 0)
        return 0;
    name += 11;
    if (strcmp(name, "alloc_shape_heap") == 0) {
        if (call->arg_count != 2 || !immediate(decoder, args[1], &number) || number < 0)
            return FAIL(decoder, "a shape heap without a size");
        if (number > decoder->heap_size)
            decoder->heap_size = number;
    } else if (strcmp(name, "match_shape") == 0) {
        if (call->arg_count < 3 || !immediate(decoder, args[2], &number))
            return FAIL(decoder, "match_shape without a number of dimensions");
        return check_pairs(decoder, call, 3, number, 4, 1 << 1 | 1 << 3);
    } else if (strcmp(name, "make_shape") == 0) {
        if (call->arg_count < 2 || !immediate(decoder, args[1], &number))
            return FAIL(decoder, "make_shape without a number of dimensions");
        return check_pairs(decoder, call, 2, number, 2, 1 << 1);
    } else if (strcmp(name, "match_prim_value") == 0) {
        return check_pairs(decoder, call, 2, 1, 4, 1 << 1 | 1 << 3);
    } else if (strcmp(name, "make_prim_value") == 0) {
        return check_pairs(decoder, call, 1, 1, 2, 1 << 1);
    }
    return 0;
}

/* words: dst, function, number of arguments, arguments; size of them follow the operation. */
static int decode_call(struct decoder *decoder, const int64_t *words, int64_t size,
                       struct vm_instruction *out) {
    struct tvm_relax_executable *executable = decoder->executable;
    if (size < 3 || words[2] < 0 || words[2] > size - 3)
        return FAIL(decoder, "a call without all of its arguments");
    if (words[1] < 0 || words[1] >= executable->function_count)
        return FAIL(decoder, "function %lld of %u", (long long)words[1],
                    executable->function_count);
    const struct vm_function *callee = &executable->functions[words[1]];
    uint32_t count = (uint32_t)words[2];
    if (callee->kind != VM_PACKED && count != callee->param_count)
        return FAIL(decoder, "%u arguments for %s, which takes %u", count, callee->name,
                    callee->param_count);
    *out = (struct vm_instruction){VM_CALL, -1, (uint32_t)words[1], count, decoder->arg_count};
    if (words[0] < FIRST_SPECIAL && check_register(decoder, words[0], &out->dst))
        return -1;
    for (uint32_t i = 0; i < count; i++)
        if (decode_argument(decoder, words[3 + i], &executable->args[decoder->arg_count++]))
            return -1;
    if (decoder->function->max_args < count)
        decoder->function->max_args = count;
    if (strcmp(callee->name, "vm.builtin.null_value") == 0)
        out->op = VM_CLEAR;
    return check_heap(decoder, out);
}

static int decode_instruction(struct decoder *decoder, struct vm_instruction *out) {
    const struct decode_words *words = decoder->words;
    int64_t begin = words->offsets[decoder->at];
    int64_t end =
        decoder->at + 1 < words->offset_count ? words->offsets[decoder->at + 1] : words->data_count;
    if (out->op != VM_NOTHING)
        return FAIL(decoder, "it belongs to another function too");
    const int64_t *operands = words->data + begin + 1;
    int64_t operation = operands[-1], size = end - begin - 1;
    *out = (struct vm_instruction){.dst = -1};
    if (operation == OP_CALL)
        return decode_call(decoder, operands, size, out);
    if (operation == OP_RETURN && size >= 1) {
        out->op = VM_RETURN;
        return operands[0] == REGISTER_VOID ? 0 : check_register(decoder, operands[0], &out->dst);
    }
    if (operation == OP_GOTO && size >= 1) {
        out->op = VM_GOTO;
        return check_jump(decoder, operands[0], &out->target);
    }
    if (operation == OP_IF && size >= 2) {
        out->op = VM_IF;
        return check_register(decoder, operands[0], &out->dst) ||
               check_jump(decoder, operands[1], &out->target);
    }
    if (operation >= OP_CALL && operation <= OP_IF)
        return FAIL(decoder, "%lld words are too few for operation %lld", (long long)size,
                    (long long)operation);
    return fail(decoder, TVM_UNSUPPORTED_ERROR, "operation %lld, which this build does not know",
                (long long)operation);
}

static int decode_function(struct decoder *decoder) {
    struct vm_instruction *code = decoder->executable->code;
    decoder->at = decoder->start;
    decoder->heap_size = 0;
    if (decoder->start < 0 || decoder->start >= decoder->end ||
        decoder->end > decoder->words->offset_count)
        return FAIL(decoder, "its code ends at %lld of %u", (long long)decoder->end,
                    decoder->words->offset_count);
    decoder->function->start = (uint32_t)decoder->start;
    decoder->function->end = (uint32_t)decoder->end;
    for (; decoder->at < decoder->end; decoder->at++)
        if (decode_instruction(decoder, &code[decoder->at]))
            return -1;
    decoder->at--;
    enum vm_op last = code[decoder->at].op;
    return last == VM_RETURN || last == VM_GOTO ? 0 : FAIL(decoder, "it runs out of its code");
}

/* Instructions stand one behind the other. */
static int check_offsets(const struct decode_words *words) {
    for (uint32_t i = 0; i < words->offset_count; i++) {
        int64_t begin = words->offsets[i];
        int64_t end = i + 1 < words->offset_count ? words->offsets[i + 1] : words->data_count;
        if (begin < 0 || begin >= end || end > words->data_count)
            return tvm_raise(TVM_FORMAT_ERROR, "instruction %u: its words are %lld to %lld of %u",
                             i, (long long)begin, (long long)end, words->data_count);
    }
    return 0;
}

int tvm_vm_decode(struct tvm_relax_executable *executable, const struct decode_words *words,
                  const struct decode_range *ranges) {
    struct decoder decoder = {
        .executable = executable, .words = words, .literal_room = executable->literal_count};
    executable->code = calloc((size_t)words->offset_count + 1, sizeof(*executable->code));
    executable->args = calloc((size_t)words->data_count + 1, sizeof(*executable->args));
    if (!executable->code || !executable->args)
        return tvm_raise_out_of_memory();
    if (check_offsets(words))
        return -1;
    for (uint32_t i = 0; i < executable->function_count; i++) {
        decoder.function = &executable->functions[i];
        decoder.start = ranges[i].start;
        decoder.end = ranges[i].end;
        if (decoder.function->kind == VM_BYTECODE && decode_function(&decoder))
            return -1;
    }
    return 0;
}
