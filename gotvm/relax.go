package gotvm

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unsafe"
)

// FunctionInfo describes a function of a model.
type FunctionInfo struct {
	Name    string
	Params  []TensorInfo
	Results []TensorInfo // nil: unknown
}

// executable is what a model has that is a Relax executable.
type executable struct {
	ptr       unsafe.Pointer // of the module in Model.lib
	functions []FunctionInfo
	main      int // index of the function that Run calls; -1: there is none
}

// describeExecutable finds out what the model's functions are, and what main wants and gives.
func (m *Model) describeExecutable(ptr unsafe.Pointer) {
	e := &executable{ptr: ptr, functions: executableFunctions(ptr)}
	m.executable, m.inputs, m.ports = e, nil, make(map[string]port)
	if e.main = e.find("main"); e.main < 0 {
		return
	}
	for i, info := range e.functions[e.main].Params {
		m.ports[info.Name] = port{i, info}
		if m.weights == nil || !weightsHave(m.weights.ptr, info.Name) {
			m.inputs = append(m.inputs, info)
		}
	}
	m.outputs = e.functions[e.main].Results
}

// find gives the index of a function, -1 where there is none.
func (e *executable) find(name string) int {
	return slices.IndexFunc(e.functions, func(f FunctionInfo) bool { return f.Name == name })
}

// names is for messages.
func (e *executable) names() string {
	if len(e.functions) == 0 {
		return "none"
	}
	names := make([]string, len(e.functions))
	for i, f := range e.functions {
		names[i] = quote(f.Name)
	}
	return strings.Join(names, ", ")
}

// machine is a session of the Relax virtual machine.
type machine struct {
	model     *Model // its tables only: it may be closed
	device    Device
	functions []*Function      // by index; made at first use
	values    []argument       // of main
	beneath   map[int]argument // what a bound argument had before
	bound     map[int]binding  // by output
	copying   *Function        // main, which copies its result to further arguments; made at first use
	passed    []any            // its arguments
	last      []TensorInfo     // what outputs a run with arguments of these shapes gives; nil: not known yet
}

// argument is what main gets for a parameter.
type argument struct {
	array *Array // nil: there is none yet
	own   bool   // it is a copy that the machine made
}

func (a argument) close() {
	if a.array != nil {
		a.array.close()
	}
}

// binding is an output that is bound.
type binding struct {
	array *Array // the program's, which may close it
	own   *Array // of the same memory
}

func startExecutable(m *Model, weights unsafe.Pointer, data []byte, o sessionOptions) (unsafe.Pointer, program, error) {
	ptr, err := newRelaxSession(m.executable.ptr, o.device, o.threads)
	if err != nil {
		return nil, nil, err
	}
	v := &machine{model: m, device: o.device, functions: make([]*Function, len(m.executable.functions)), bound: make(map[int]binding), beneath: make(map[int]argument)}
	if m.executable.main >= 0 {
		v.values = make([]argument, len(v.params()))
	}
	if weights != nil {
		err = v.setWeights(weights, data)
	}
	if err != nil {
		v.close()
		release(ptr)
		return nil, nil, err
	}
	return ptr, v, nil
}

// setWeights gives main the parameters that are in weights.
func (v *machine) setWeights(weights unsafe.Pointer, data []byte) error {
	params, err := weightsPlace(weights, data, v.device)
	if err != nil {
		return err
	}
	defer release(params)
	for name, port := range v.model.ports {
		tensor := paramsFind(params, name)
		if tensor == nil {
			continue
		}
		x := wrapTensor(tensor, tensorDL(tensor), nil)
		v.put(port.index, argument{array: x})
		if err := port.info.check("parameter "+quote(name), x); err != nil {
			return err
		}
	}
	return nil
}

// params are those of main.
func (v *machine) params() []TensorInfo {
	return v.model.executable.functions[v.model.executable.main].Params
}

// put makes x argument index of main, and gives what that was before.
func (v *machine) put(index int, x argument) (old argument) {
	old, v.values[index] = v.values[index], x
	if old.array == nil || x.array == nil || !x.array.isLike(old.array) {
		v.last = nil
	}
	return old
}

func (v *machine) context(session unsafe.Pointer) unsafe.Pointer { return relaxContext(session) }

func (v *machine) run(ctx context.Context, s *Session, inputs Inputs) ([]*Array, error) {
	if v.model.executable.main < 0 {
		return nil, newError(kindNotFound, "the executable has no function \"main\": use Call, or ProfileCall, with one of %s", v.model.executable.names())
	}
	for name, x := range inputs {
		if _, err := v.model.checkInput(name, x); err != nil {
			return nil, err
		}
		if !x.acquire() {
			return nil, newError(kindClosed, "input %s: the array is closed", quote(name))
		}
		defer x.leave()
	}
	if err := v.checkSet(inputs); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, cancelledError(ctx)
	}
	replaced, err := v.copyInputs(inputs)
	if err != nil {
		return nil, err
	}
	outputs, err := v.runMain(ctx, s)
	v.endInputs(replaced, hasCode(err, CodeInvalidArgument)) // main may have refused the inputs
	return outputs, err
}

// runMain calls main with what its arguments are now.
func (v *machine) runMain(ctx context.Context, s *Session) ([]*Array, error) {
	outputs, err := v.expected()
	if err != nil {
		return nil, err
	}
	result, err := v.callMain(ctx, s, outputs)
	if err == nil && outputs != nil && v.isCopied(result) {
		return outputs, nil
	}
	v.discard(outputs)
	if err != nil {
		return nil, err
	}
	defer result.Close()
	if outputs, err = v.outputs(result); err != nil {
		return nil, err
	}
	v.last = make([]TensorInfo, len(outputs))
	for i, output := range outputs {
		v.last[i] = TensorInfo{Shape: output.shape, dtype: output.dtype}
	}
	return outputs, nil
}

// isCopied says whether the copying function has copied main's result, which it then returns itself in its place.
func (v *machine) isCopied(result *Value) bool {
	return result.kind == KindHandle && result.bits == uint64(uintptr(v.copying.ptr))
}

// expected makes the arrays that the next run's result should fit, where one before it tells; nil otherwise.
func (v *machine) expected() (outputs []*Array, err error) {
	if v.last == nil {
		return nil, nil
	}
	outputs = make([]*Array, len(v.last))
	for i, info := range v.last {
		if b, ok := v.bound[i]; ok {
			outputs[i] = b.array
			continue
		}
		if outputs[i], err = newArray(info.Shape, info.dtype, CPU(0)); err != nil {
			v.discard(outputs)
			return nil, err
		}
	}
	return outputs, nil
}

// discard gives back outputs that no caller gets.
func (v *machine) discard(outputs []*Array) {
	for i, output := range outputs {
		if output != nil && output != v.bound[i].array {
			output.close()
		}
	}
}

// callMain calls main, and copies its result to outputs when it fits them; see isCopied.
func (v *machine) callMain(ctx context.Context, s *Session, outputs []*Array) (result *Value, err error) {
	if v.copying == nil {
		ptr, err := relaxCopyingFunction(s.ptr, v.model.executable.main)
		if err != nil {
			return nil, err
		}
		v.copying = newFunction(ptr, "main")
	}
	v.passed = v.passed[:0]
	for _, x := range v.values {
		v.passed = append(v.passed, x.array)
	}
	for i, output := range outputs {
		if b, ok := v.bound[i]; ok {
			output = b.own // the program may have closed its own
		}
		v.passed = append(v.passed, output)
	}
	err = s.runUntil(ctx, func() (err error) {
		result, err = v.copying.Invoke(v.passed...)
		return err
	})
	clear(v.passed)
	return result, err
}

// copyInputs makes copies of inputs arguments of main. It gives those that they replaced, for endInputs.
func (v *machine) copyInputs(inputs Inputs) (replaced map[int]argument, err error) {
	if v.canWrite(inputs) {
		for name, x := range inputs {
			if err := tensorCopy(x.ptr, v.values[v.model.ports[name].index].array.ptr); err != nil {
				return nil, wrapError(err, "input %s", quote(name))
			}
		}
		return nil, nil
	}
	replaced = make(map[int]argument, len(inputs))
	for name, x := range inputs {
		own, err := newArray(x.shape, x.dtype, v.device)
		if err == nil {
			err = tensorCopy(x.ptr, own.ptr)
		}
		if err != nil {
			if own != nil {
				own.close()
			}
			v.endInputs(replaced, true)
			return nil, wrapError(err, "input %s", quote(name))
		}
		index := v.model.ports[name].index
		replaced[index] = v.put(index, argument{own, true})
	}
	return replaced, nil
}

// canWrite says whether the inputs may be written over the arguments of the last run. They are of a kind that main
// takes then, and nobody has kept the arrays, such as a callback.
func (v *machine) canWrite(inputs Inputs) bool {
	if v.last == nil {
		return false
	}
	for name, x := range inputs {
		old := v.values[v.model.ports[name].index]
		if !old.own || !old.array.isLike(x) || tensorIsShared(old.array.ptr) {
			return false
		}
	}
	return true
}

// endInputs ends what copyInputs began: what was replaced comes back, or goes, with what lay beneath it.
func (v *machine) endInputs(replaced map[int]argument, back bool) {
	for index, old := range replaced {
		if back {
			v.put(index, old).close()
			continue
		}
		old.close()
		v.beneath[index].close()
		delete(v.beneath, index)
	}
}

// checkSet checks that every argument of main has a value, or is among inputs.
func (v *machine) checkSet(inputs Inputs) error {
	var names []string
	if len(v.model.ports) < len(v.values) {
		return newError(kindUnsupported, "main has two parameters of one name: use Call")
	}
	for i, x := range v.values {
		if x.array != nil {
			continue
		}
		name := v.params()[i].Name
		if _, given := inputs[name]; !given {
			names = append(names, quote(name))
		}
	}
	switch len(names) {
	case 0:
		return nil
	case 1:
		return newError(kindValue, "input %s was never set", names[0])
	default:
		return newError(kindValue, "%d inputs were never set: %s", len(names), strings.Join(names, ", "))
	}
}

// outputs copies the arrays of a result: the machine's own may be constants or arguments of the next run.
func (v *machine) outputs(result *Value) (outputs []*Array, err error) {
	arrays, err := result.Arrays()
	if err != nil {
		return nil, wrapError(err, "main, whose result Run cannot return: use Call")
	}
	defer func() {
		for _, a := range arrays {
			a.close()
		}
	}()
	bound := make([]*Array, len(arrays))
	for i, b := range v.bound {
		if i >= len(arrays) {
			return nil, newError(kindIndex, "output %d is bound, but the run gave %s", i, plural(len(arrays), "output"))
		}
		bound[i] = b.own
	}
	if err := checkOutputs(bound); err != nil {
		return nil, err
	}
	for i, y := range bound {
		for k := i + 1; y != nil && k < len(arrays); k++ {
			if y.overlaps(arrays[k]) {
				return nil, newError(kindValue, "output %d is bound to memory that output %d lies in before it is copied", i, k)
			}
		}
	}
	outputs = make([]*Array, len(arrays))
	for i, a := range arrays {
		if outputs[i], err = v.output(i, a); err != nil {
			break
		}
	}
	if err != nil {
		v.discard(outputs)
		return nil, err
	}
	return outputs, nil
}

// output copies a, output index, to the array that is bound there or to a new one.
func (v *machine) output(index int, a *Array) (*Array, error) {
	if bound, ok := v.bound[index]; ok {
		y := bound.own
		if !y.isLike(a) {
			return nil, newError(kindValue, "output %d: the bound array is %s %s, the run gave %s %s",
				index, y.dtype, printShape(y.shape), a.dtype, printShape(a.shape))
		}
		return bound.array, tensorCopy(a.ptr, y.ptr)
	}
	output, err := newArray(a.shape, a.dtype, CPU(0))
	if err != nil {
		return nil, err
	}
	if err := tensorCopy(a.ptr, output.ptr); err != nil {
		output.close()
		return nil, err
	}
	return output, nil
}

func (v *machine) call(ctx context.Context, s *Session, name string, args []any) (*Value, error) {
	index := v.model.executable.find(name)
	if index < 0 {
		return nil, newError(kindNotFound, "there is no function %s: the executable has %s", quote(name), v.model.executable.names())
	}
	converted := make([]any, len(args))
	for i, arg := range args {
		value, err := containerOf(arg, 0)
		if err != nil {
			return nil, wrapError(err, "argument %d", i)
		}
		if converted[i] = arg; value != nil {
			defer value.Close()
			converted[i] = value
		}
	}
	return v.callIndex(ctx, s, index, converted)
}

// containerOf makes the runtime's own of what stands for a shape or a tuple, for the caller to close: it holds the
// arrays in it. It is nil for anything else.
func containerOf(arg any, depth int) (*Value, error) {
	const mostDepth = 1000 // of the runtime's arrays, too
	name := "ffi.Array"
	var items []any
	switch arg := arg.(type) {
	case []int64:
		name = "ffi.Shape"
		for _, dim := range arg {
			items = append(items, dim)
		}
	case []any:
		if depth == mostDepth {
			return nil, newError(kindValue, "tuples nested more than %d deep", mostDepth)
		}
		for i, item := range arg {
			value, err := containerOf(item, depth+1)
			if err != nil {
				return nil, wrapError(err, "item %d", i)
			}
			if value != nil {
				defer value.Close()
				item = value
			}
			items = append(items, item)
		}
	default:
		return nil, nil
	}
	maker, err := GetGlobalFunction(name)
	if err != nil {
		return nil, err
	}
	defer maker.Close()
	return maker.Invoke(items...)
}

func (v *machine) callIndex(ctx context.Context, s *Session, index int, args []any) (result *Value, err error) {
	if v.functions[index] == nil {
		ptr, err := relaxFunction(s.ptr, index)
		if err != nil {
			return nil, err
		}
		v.functions[index] = newFunction(ptr, v.model.executable.functions[index].Name)
	}
	err = s.runUntil(ctx, func() (err error) {
		result, err = v.functions[index].Invoke(args...)
		return err
	})
	return result, err
}

func (v *machine) bindInput(s *Session, name string, x *Array) error {
	port, ok := v.model.ports[name]
	switch {
	case !ok:
		return v.model.noInput(name)
	case x == nil:
		if before, bound := v.beneath[port.index]; bound {
			delete(v.beneath, port.index)
			v.put(port.index, before).close()
		}
		return nil
	}
	if _, err := v.model.checkInput(name, x); err != nil {
		return err
	}
	if err := x.enter(); err != nil {
		return wrapError(err, "input %s", quote(name))
	}
	defer x.leave()
	if x.device != v.device {
		return newError(kindType, "input %s: expected an array on %s, got one on %s", quote(name), v.device, x.device)
	}
	old := v.put(port.index, argument{array: x.share()})
	if _, bound := v.beneath[port.index]; bound {
		old.close()
	} else {
		v.beneath[port.index] = old
	}
	return nil
}

func (v *machine) bindOutput(s *Session, index int, y *Array) error {
	if n := len(v.model.outputs); index < 0 || n > 0 && index >= n {
		return newError(kindIndex, "there is no output %d: the model has %s", index, plural(n, "output"))
	}
	if y == nil {
		v.bind(index, binding{})
		return nil
	}
	if err := y.enter(); err != nil {
		return wrapError(err, "output %d", index)
	}
	defer y.leave()
	if index < len(v.model.outputs) {
		if err := v.model.outputs[index].check(fmt.Sprintf("output %d", index), y); err != nil {
			return err
		}
	}
	if y.device != v.device {
		return newError(kindType, "output %d: expected an array on %s, got one on %s", index, v.device, y.device)
	}
	v.bind(index, binding{y, y.share()})
	return nil
}

// bind makes b what output index is bound to: nothing, where it holds nothing.
func (v *machine) bind(index int, b binding) {
	v.last = nil
	if old, ok := v.bound[index]; ok {
		old.own.close()
	}
	if b.own == nil {
		delete(v.bound, index)
	} else {
		v.bound[index] = b
	}
}

func (v *machine) close() {
	for _, f := range v.functions {
		if f != nil {
			f.close()
		}
	}
	if v.copying != nil {
		v.copying.close()
	}
	for _, x := range v.values {
		x.close()
	}
	for _, x := range v.beneath {
		x.close()
	}
	for _, b := range v.bound {
		b.own.close()
	}
}
