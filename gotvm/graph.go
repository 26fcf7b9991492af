package gotvm

import (
	"context"
	"runtime"
	"slices"
	"unsafe"
)

// graph is a session of the graph executor.
type graph struct {
	model   *Model  // its tables only: it may be closed
	inputs  []cSlot // of the next run; kept to save allocations
	outputs []cSlot
	pin     runtime.Pinner    // of arrays in Go's memory, during a run
	used    []*Array          // inputs that a run uses, which must not be given back before its end
	bound   []*Array          // by output; nil where none is bound
	reads   map[string]*Array // bound, by input
	changed bool              // something was bound since sharing was last looked for
}

func startGraph(m *Model, weights unsafe.Pointer, data []byte, o sessionOptions) (unsafe.Pointer, program, error) {
	if !m.code.acquire() {
		return nil, nil, closedError("model")
	}
	defer m.code.leave()
	if !m.plan.acquire() {
		return nil, nil, closedError("model")
	}
	defer m.plan.leave()
	ptr, err := newSession(m.plan.ptr, m.code.ptr, weights, data, o.device, o.threads)
	if err != nil {
		return nil, nil, err
	}
	return ptr, &graph{model: m, bound: make([]*Array, len(m.outputs)), reads: make(map[string]*Array)}, nil
}

func (g *graph) context(session unsafe.Pointer) unsafe.Pointer { return sessionContext(session) }

func (g *graph) run(ctx context.Context, s *Session, inputs Inputs) ([]*Array, error) {
	g.inputs, g.outputs = g.inputs[:0], g.outputs[:0]
	outputs, err := g.prepare(inputs)
	if err == nil {
		err = g.checkSharing(inputs)
	}
	if err == nil {
		err = s.runUntil(ctx, func() error { return sessionRun(s.ptr, g.inputs, g.outputs) })
	}
	g.endBindings(s, inputs, err != nil)
	for _, x := range g.used {
		x.leave()
	}
	clear(g.used)
	g.used = g.used[:0]
	g.pin.Unpin()
	if err != nil {
		g.discard(outputs)
		return nil, err
	}
	return outputs, nil
}

// endBindings forgets what inputs were bound to that a run has set. A run that failed may have set none.
func (g *graph) endBindings(s *Session, inputs Inputs, failed bool) {
	for name := range inputs {
		if _, bound := g.reads[name]; bound && failed {
			if still, err := sessionIsBound(s.ptr, g.model.ports[name].index); still || err != nil {
				continue
			}
		}
		delete(g.reads, name)
	}
}

func (g *graph) discard(outputs []*Array) {
	for i, output := range outputs {
		if output != nil && output != g.bound[i] {
			_ = output.Close()
		}
	}
}

// prepare fills in the slots of a run, and gives its outputs: those that there are, on an error.
func (g *graph) prepare(inputs Inputs) (outputs []*Array, err error) {
	for name, x := range inputs {
		index, err := g.model.checkInput(name, x)
		if err != nil {
			return nil, err
		}
		if !x.acquire() {
			return nil, newError(kindClosed, "input %s: the array is closed", quote(name))
		}
		g.used = append(g.used, x)
		g.inputs = append(g.inputs, g.slot(index, x))
	}
	outputs = slices.Clone(g.bound)
	for i, info := range g.model.outputs {
		if outputs[i] != nil {
			continue
		}
		if outputs[i], err = newArray(info.Shape, info.dtype, CPU(0)); err != nil {
			return outputs, err
		}
		g.outputs = append(g.outputs, g.slot(i, outputs[i]))
	}
	return outputs, nil
}

// slot lets C use x until the end of the run.
func (g *graph) slot(index int, x *Array) cSlot {
	if x.block != nil {
		g.pin.Pin(x.block.data)
	}
	return newSlot(index, x.ptr)
}

func (g *graph) call(context.Context, *Session, string, []any) (*Value, error) {
	return nil, newError(kindUnsupported, "the model is a graph, which has no functions: use Run, Profile, or Model.Module for functions of the library")
}

func (g *graph) bindInput(s *Session, name string, x *Array) error {
	port, ok := g.model.ports[name]
	if !ok {
		return g.model.noInput(name)
	}
	if x == nil {
		delete(g.reads, name)
		return sessionBindInput(s.ptr, newSlot(port.index, nil))
	}
	if _, err := g.model.checkInput(name, x); err != nil {
		return err
	}
	if err := x.enter(); err != nil {
		return wrapError(err, "input %s", quote(name))
	}
	defer x.leave()
	x.keep() // C holds a reference from here on
	if err := sessionBindInput(s.ptr, newSlot(port.index, x.ptr)); err != nil {
		return err
	}
	g.reads[name], g.changed = x, true
	return nil
}

// checkSharing refuses arrays that are bound to outputs and to something else: operators would write what others
// are still to read. It comes with a run, since a program may bind one after the other. What the run's inputs are
// bound to does not count.
func (g *graph) checkSharing(inputs Inputs) error {
	if !g.changed {
		return nil
	}
	if err := checkOutputs(g.bound); err != nil {
		return err
	}
	for name, x := range g.reads {
		if _, given := inputs[name]; given {
			continue
		}
		for i, y := range g.bound {
			if y != nil && y.overlaps(x) {
				return newError(kindValue, "output %d and input %s are bound to the same memory", i, quote(name))
			}
		}
	}
	g.changed = len(inputs) > 0 // what they are bound to may count in the next run
	return nil
}

// checkOutputs refuses outputs that are bound to the same memory; nil where one is not bound.
func checkOutputs(bound []*Array) error {
	for i, y := range bound {
		for k, z := range bound[:i] {
			if y != nil && z != nil && y.overlaps(z) {
				return newError(kindValue, "outputs %d and %d are bound to the same memory", k, i)
			}
		}
	}
	return nil
}

func (g *graph) bindOutput(s *Session, index int, y *Array) error {
	if n := len(g.bound); index < 0 || index >= n {
		return newError(kindIndex, "there is no output %d: the model has %s", index, plural(n, "output"))
	}
	slot := newSlot(index, nil)
	if y != nil {
		if err := y.enter(); err != nil {
			return wrapError(err, "output %d", index)
		}
		defer y.leave()
		y.keep() // C holds a reference from here on
		slot = newSlot(index, y.ptr)
	}
	if err := sessionBindOutput(s.ptr, slot); err != nil {
		return err
	}
	g.bound[index], g.changed = y, true
	return nil
}

func (g *graph) close() {}
