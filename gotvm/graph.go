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
	pin     runtime.Pinner // of arrays in Go's memory, during a run
	used    []*Array       // inputs that a run uses, which must not be given back before its end
	bound   []*Array       // by output; nil where none is bound
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
	return ptr, &graph{model: m, bound: make([]*Array, len(m.outputs))}, nil
}

func (g *graph) context(session unsafe.Pointer) unsafe.Pointer { return sessionContext(session) }

func (g *graph) run(ctx context.Context, s *Session, inputs Inputs) ([]*Array, error) {
	g.inputs, g.outputs = g.inputs[:0], g.outputs[:0]
	outputs, err := g.prepare(inputs)
	if err == nil {
		err = s.runUntil(ctx, func() error { return sessionRun(s.ptr, g.inputs, g.outputs) })
	}
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
		g.pin.Pin(x.data)
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
		return sessionBindInput(s.ptr, newSlot(port.index, nil))
	}
	if _, err := g.model.checkInput(name, x); err != nil {
		return err
	}
	if err := x.enter(); err != nil {
		return err
	}
	defer x.leave()
	x.keep() // C holds a reference from here on
	return sessionBindInput(s.ptr, newSlot(port.index, x.ptr))
}

func (g *graph) bindOutput(s *Session, index int, y *Array) error {
	if n := len(g.bound); index < 0 || index >= n {
		return newError(kindIndex, "there is no output %d: the model has %s", index, plural(n, "output"))
	}
	slot := newSlot(index, nil)
	if y != nil {
		if err := y.enter(); err != nil {
			return err
		}
		defer y.leave()
		y.keep() // C holds a reference from here on
		slot = newSlot(index, y.ptr)
	}
	if err := sessionBindOutput(s.ptr, slot); err != nil {
		return err
	}
	g.bound[index] = y
	return nil
}

func (g *graph) close() {}
