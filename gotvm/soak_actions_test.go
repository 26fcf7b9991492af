package gotvm_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gotvm/gotvm/gotvm"
)

// The actions. Each leaves some of what it made to the collector.
var soakActions = []struct {
	name string
	do   func(s *soak, random *rand.Rand) error
}{
	{"open", soakOpen},
	{"package", soakOpenPackage},
	{"executable", soakOpenExecutable},
	{"session", soakSession},
	{"relax session", soakRelaxSession},
	{"bind", soakBind},
	{"cancel", soakCancel},
	{"close during run", soakCloseDuringRun},
	{"busy", soakBusy},
	{"graph module", soakGraphModule},
	{"callback", soakCallback},
	{"registry", soakRegistry},
	{"compiled code", soakCompiledCode},
	{"errors", soakErrors},
	{"bad files", soakBadFiles},
}

// soakOpen opens a model in one of the ways, runs it, and closes model and session in either order or not at all.
func soakOpen(s *soak, random *rand.Rand) error {
	m := s.pick(random)
	var model *gotvm.Model
	var err error
	if random.IntN(2) == 0 {
		model, err = gotvm.OpenFiles(m.files)
	} else {
		model, err = gotvm.OpenBytes(m.blobs)
	}
	if err != nil {
		return err
	}
	session, err := model.NewSession(gotvm.WithThreads(random.IntN(3)))
	if err != nil {
		return err
	}
	early, late := random.IntN(2) == 0, random.IntN(4) != 0
	if early {
		_ = model.Close()
	}
	err = m.check(s, session, inputsOf(s.t, m.reference))
	if late {
		_ = session.Close()
		_ = model.Close()
	}
	return err
}

// soakOpenPackage opens a model of one file.
func soakOpenPackage(s *soak, random *rand.Rand) error {
	p := &s.packages[random.IntN(len(s.packages))]
	model, err := gotvm.Open(p.path(p.file))
	if err != nil {
		return err
	}
	if random.IntN(2) == 0 {
		defer model.Close()
	}
	session, err := model.NewSession()
	if err != nil {
		return err
	}
	if random.IntN(4) != 0 {
		defer session.Close()
	}
	outputs, err := session.Run(context.Background(), packageInputs(s.t, p.file, p.reference))
	if err != nil {
		return fmt.Errorf("%s/%s: %w", p.Dir, p.file, err)
	}
	compareOutputs(s.t, outputs, p.reference, p.zooCase)
	return nil
}

// soakOpenExecutable opens a Relax model and calls one of its functions.
func soakOpenExecutable(s *soak, random *rand.Rand) error {
	e := &s.executables[random.IntN(len(s.executables))]
	modes := slices.Sorted(maps.Keys(e.Libs))
	files := gotvm.Files{Lib: e.path(e.Libs[modes[random.IntN(len(modes))]])}
	if e.Params != "" {
		files.Params = e.path(e.Params)
	}
	model, err := gotvm.OpenFiles(files)
	if err != nil {
		return err
	}
	if random.IntN(2) == 0 {
		defer model.Close()
	}
	session, err := model.NewSession()
	if err != nil {
		return err
	}
	if random.IntN(4) != 0 {
		defer session.Close()
	}
	for i, call := range e.Calls {
		var args []any
		for _, arg := range call.Args {
			args = append(args, arg.argument(s.t, e.references))
		}
		v, err := session.Call(context.Background(), call.Function, args...)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", e.Dir, call.Function, err)
		}
		call.Result.expect(s.t, fmt.Sprintf("%s, call %d", e.Dir, i), v, e.references, e.relaxCase)
	}
	return nil
}

// soakRelaxSession runs a session of a shared Relax model with bound arrays whose handles are closed, cancels it and
// runs it again.
func soakRelaxSession(s *soak, random *rand.Rand) error {
	session, err := s.relax.NewSession()
	if err != nil {
		return err
	}
	if random.IntN(4) != 0 {
		defer session.Close()
	}
	x, want := s.relaxCase.references["in:0.0"].array(s.t), s.relaxCase.references["out:0"]
	y := must(gotvm.Empty(want.shape, want.dtype))
	view := must(gotvm.DataOf[float32](y))
	if err := errors.Join(session.BindInput("x", x), session.BindOutput(0, y), x.Close(), y.Close()); err != nil {
		return err
	}
	for range 3 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(random.IntN(100))*time.Microsecond)
		_, err := session.Run(ctx, nil)
		cancel()
		if err != nil && (!errors.Is(err, gotvm.ErrCancelled) || !errors.Is(err, context.DeadlineExceeded)) {
			return err
		}
	}
	clear(view)
	if _, err := session.Run(context.Background(), nil); err != nil {
		return err
	}
	compareOutput(s.t, "relax session", must(gotvm.NewArray(want.shape, view)), want, s.relaxCase.RTol, s.relaxCase.ATol)
	return nil
}

// soakSession runs a session of a shared model several times; inputs keep their values.
func soakSession(s *soak, random *rand.Rand) error {
	m := s.pick(random)
	session, err := m.model.NewSession()
	if err != nil {
		return err
	}
	defer session.Close()
	inputs := inputsOf(s.t, m.reference)
	for range 1 + random.IntN(5) {
		if err := m.check(s, session, inputs); err != nil {
			return err
		}
		inputs = nil
	}
	return nil
}

// soakBind runs with bound inputs, whose handles are closed, and outputs.
func soakBind(s *soak, random *rand.Rand) error {
	m := s.pick(random)
	session, err := m.model.NewSession()
	if err != nil {
		return err
	}
	defer session.Close()
	for name, x := range inputsOf(s.t, m.reference) {
		if err := session.BindInput(name, x); err != nil {
			return err
		}
		_ = x.Close()
	}
	var outputs []*gotvm.Array
	for i := range m.Outputs {
		blank := m.reference[fmt.Sprintf("out:%d", i)]
		blank.data = make([]byte, len(blank.data))
		outputs = append(outputs, blank.array(s.t))
		if err := session.BindOutput(i, outputs[i]); err != nil {
			return err
		}
	}
	for range 2 {
		got, err := session.Run(context.Background(), nil)
		if err != nil {
			return err
		}
		if !slices.Equal(got, outputs) {
			return fmt.Errorf("%s: a run gave other arrays than those that are bound", m.Dir)
		}
		compareOutputs(s.t, outputs, m.reference, m.zooCase)
	}
	return nil
}

// soakCancel cancels runs at any moment; the session must give right results afterwards.
func soakCancel(s *soak, random *rand.Rand) error {
	m := s.pick(random)
	session, err := m.model.NewSession()
	if err != nil {
		return err
	}
	defer session.Close()
	inputs := inputsOf(s.t, m.reference)
	for range 5 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(random.IntN(200))*time.Microsecond)
		if random.IntN(2) == 0 {
			go cancel()
		}
		outputs, err := session.Run(ctx, inputs)
		cancel()
		switch {
		case err == nil:
			compareOutputs(s.t, outputs, m.reference, m.zooCase)
		case !errors.Is(err, gotvm.ErrCancelled) || !errors.Is(err, context.Cause(ctx)):
			return fmt.Errorf("%s: expected %v, got %w", m.Dir, context.Cause(ctx), err)
		}
	}
	return m.check(s, session, inputs)
}

// soakCloseDuringRun closes everything while another goroutine runs it.
func soakCloseDuringRun(s *soak, random *rand.Rand) error {
	m := s.pick(random)
	session, err := m.model.NewSession()
	if err != nil {
		return err
	}
	inputs := inputsOf(s.t, m.reference)
	failed := make(chan error)
	go func() {
		var err error
		for err == nil {
			err = m.check(s, session, inputs)
		}
		failed <- err
	}()
	time.Sleep(time.Duration(random.IntN(300)) * time.Microsecond)
	if random.IntN(2) == 0 {
		for _, x := range inputs {
			_ = x.Close()
		}
	}
	_ = session.Close()
	if err := <-failed; !errors.Is(err, gotvm.ErrClosed) {
		return err
	}
	return nil
}

// soakBusy runs a session that the others run too.
func soakBusy(s *soak, _ *rand.Rand) error {
	m := &s.models[2]
	err := m.check(s, s.busy, inputsOf(s.t, m.reference))
	if errors.Is(err, gotvm.ErrBusy) {
		return nil
	}
	return err
}

// soakGraphModule goes TVM's own way.
func soakGraphModule(s *soak, random *rand.Rand) error {
	m := s.pick(random)
	create, err := gotvm.GetGlobalFunction("tvm.graph_executor.create")
	if err != nil {
		return err
	}
	library, err := gotvm.LoadModuleFromFile(m.files.Lib)
	if err != nil {
		return err
	}
	made, err := create.Invoke(string(m.blobs.Graph), library, int64(gotvm.KDLCPU), 0)
	if err != nil {
		return err
	}
	graph := made.AsModule()
	if random.IntN(2) == 0 {
		_ = library.Close()
	}
	call := func(name string, args ...any) *gotvm.Value {
		f := must(graph.GetFunction(name))
		defer f.Close()
		return must(f.Invoke(args...))
	}
	call("load_params", m.blobs.Params)
	for name, x := range inputsOf(s.t, m.reference) {
		call("set_input", name, x)
	}
	call("run")
	for i := range m.Outputs {
		compareOutput(s.t, m.Dir, call("get_output", i).AsArray(), m.reference[fmt.Sprintf("out:%d", i)], m.RTol, m.ATol)
	}
	if random.IntN(2) == 0 {
		return graph.Close()
	}
	return nil
}

// soakCallback calls closures with all kinds of values, nested, failing and panicking.
func soakCallback(s *soak, random *rand.Rand) error {
	number := random.Int64()
	failure := errors.New("failure")
	f, err := gotvm.ConvertFunction(func(args ...*gotvm.Value) (any, error) {
		switch args[0].AsInt64() {
		case 0:
			return nil, fmt.Errorf("callback: %w", failure)
		case 1:
			panic(failure)
		case 2:
			return args[1].AsFunction().Invoke(number)
		default:
			return args[1], nil
		}
	})
	if err != nil {
		return err
	}
	if random.IntN(2) == 0 {
		defer f.Close()
	}
	var panicked *gotvm.PanicError
	if _, err := f.Invoke(0); !errors.Is(err, failure) || errors.As(err, &panicked) {
		return fmt.Errorf("a failing callback: %w", err)
	}
	if _, err := f.Invoke(1); !errors.Is(err, failure) || !errors.As(err, &panicked) {
		return fmt.Errorf("a panicking callback: %w", err)
	}
	if v, err := f.Invoke(2, gotvm.Callback(echo)); err != nil || v.AsInt64() != number {
		return fmt.Errorf("a nested callback: %v, %w", v, err)
	}
	text := strings.Repeat("x", random.IntN(100)) + "\x00end"
	if v, err := f.Invoke(3, text); err != nil || v.AsStr() != text {
		return fmt.Errorf("a string: %v, %w", v, err)
	}
	if v, err := f.Invoke(3, []byte(text)); err != nil || string(v.AsBytes()) != text {
		return fmt.Errorf("bytes: %v, %w", v, err)
	}
	x := must(gotvm.NewArray([]int64{2}, []int64{number, 7}))
	v, err := f.Invoke(3, x)
	if err != nil {
		return err
	}
	_ = x.Close() // v holds a reference of its own
	if data := must(gotvm.DataOf[int64](v.AsArray())); data[0] != number || data[1] != 7 {
		return fmt.Errorf("an array holds %d", data)
	}
	return nil
}

// soakRegistry registers, finds, calls and removes a function.
func soakRegistry(s *soak, random *rand.Rand) error {
	name := unique(s.t)
	number := random.IntN(1000)
	if err := gotvm.Register(name, func(a int, b []float32) (float64, error) { return float64(a+number) + float64(b[1]), nil }); err != nil {
		return err
	}
	if err := gotvm.Register(name, func() {}); err == nil {
		return fmt.Errorf("%s could be registered twice", name)
	}
	f, err := gotvm.GetGlobalFunction(name)
	if err != nil {
		return err
	}
	if err := gotvm.RemoveFunction(name); err != nil {
		return err
	}
	if _, err := gotvm.GetGlobalFunction(name); !errors.Is(err, gotvm.ErrNotFound) {
		return fmt.Errorf("a removed function: %w", err)
	}
	x := must(gotvm.NewArray([]int64{2}, []float32{0, 0.5}))
	if v, err := f.Invoke(1, x); err != nil || v.AsFloat64() != float64(number)+1.5 {
		return fmt.Errorf("%v, %w", v, err)
	}
	return nil
}

// soakCompiledCode calls functions of libraries, which call Go and spread over threads.
func soakCompiledCode(s *soak, random *rand.Rand) error {
	call := func(library, name string, args ...any) error {
		l, err := gotvm.LoadModuleFromFile(libraryFile(library))
		if err != nil {
			return err
		}
		f, err := l.GetFunction(name)
		if err != nil {
			return err
		}
		_ = l.Close() // the function keeps it
		_, err = f.Invoke(args...)
		return err
	}
	out := must(gotvm.Empty([]int64{1}, "int64"))
	if err := call("callpacked.so", "call_ints", out); err != nil {
		return err
	}
	if got := must(gotvm.DataOf[int64](out)); got[0] != 42 {
		return fmt.Errorf("test.ints gave %d", got[0])
	}
	x := must(gotvm.NewArray([]int64{4}, []float32{1, 2, 3, 4}))
	items := s.items.Load()
	if err := call("callpacked.so", "call_parallel", x); err != nil {
		return err
	}
	if s.items.Load() < items+16 {
		return errors.New("some of 16 calls from a parallel loop are missing")
	}
	sum := must(gotvm.Empty([]int64{4}))
	if err := call("myadd.so", "myadd", x, x, sum); err != nil {
		return err
	}
	if got := must(gotvm.DataOf[float32](sum)); !slices.Equal(got, []float32{2, 4, 6, 8}) {
		return fmt.Errorf("myadd gave %v", got)
	}
	values := make([]float32, 1024)
	for i := range values {
		values[i] = random.Float32()
	}
	shifted := must(gotvm.Empty([]int64{1024}))
	if err := call("barrier.so", "shift", must(gotvm.NewArray([]int64{1024}, values)), shifted); err != nil {
		return err
	}
	var want, got float64
	for i, v := range must(gotvm.DataOf[float32](shifted)) { // the elements are doubled, and in another order
		want, got = want+2*float64(values[i]), got+float64(v)
	}
	if got < want-0.01 || got > want+0.01 {
		return fmt.Errorf("shift gave elements of the sum %v, want %v", got, want)
	}
	return nil
}

// soakErrors makes mistakes; each must be told, and spoil nothing.
func soakErrors(s *soak, random *rand.Rand) error {
	m := &s.models[random.IntN(2)] // conv or dense, of one input
	session, err := m.model.NewSession()
	if err != nil {
		return err
	}
	defer session.Close()
	name := m.Inputs[0].Name
	closed := must(gotvm.Empty(m.Inputs[0].Shape))
	_ = closed.Close()
	for what, test := range map[string]struct {
		inputs gotvm.Inputs
		want   error
	}{
		"never set":    {nil, gotvm.ErrInvalidArgument},
		"unknown name": {gotvm.Inputs{"nobody": must(gotvm.Empty([]int64{1}))}, gotvm.ErrNotFound},
		"shape":        {gotvm.Inputs{name: must(gotvm.Empty([]int64{7, 7}))}, gotvm.ErrInvalidArgument},
		"dtype":        {gotvm.Inputs{name: must(gotvm.Empty(m.Inputs[0].Shape, "int8"))}, gotvm.ErrInvalidArgument},
		"closed":       {gotvm.Inputs{name: closed}, gotvm.ErrClosed},
	} {
		if _, err := session.Run(context.Background(), test.inputs); !errors.Is(err, test.want) {
			return fmt.Errorf("%s: expected %v, got %w", what, test.want, err)
		}
	}
	if err := session.BindInput(name, must(gotvm.Empty([]int64{7, 7}))); !errors.Is(err, gotvm.ErrInvalidArgument) {
		return fmt.Errorf("a wrong array was bound: %w", err)
	}
	return m.check(s, session, inputsOf(s.t, m.reference))
}

// soakBadFiles opens what is missing or damaged.
func soakBadFiles(s *soak, random *rand.Rand) error {
	m := s.pick(random)
	files, blobs := m.files, m.blobs
	files.Graph = filepath.Join(filepath.Dir(files.Graph), "nowhere.json")
	if _, err := gotvm.OpenFiles(files); !errors.Is(err, gotvm.ErrNotFound) {
		return fmt.Errorf("a missing graph: %w", err)
	}
	blobs.Graph = blobs.Graph[:random.IntN(len(blobs.Graph)-2)]
	if _, err := gotvm.OpenBytes(blobs); err == nil {
		return fmt.Errorf("a graph that ends after %d bytes was opened", len(blobs.Graph))
	}
	blobs = m.blobs
	blobs.Lib = blobs.Lib[:random.IntN(len(blobs.Lib)/2)]
	if _, err := gotvm.OpenBytes(blobs); err == nil {
		return fmt.Errorf("a library that ends after %d bytes was opened", len(blobs.Lib))
	}
	if _, err := gotvm.LoadModuleFromFile(m.files.Graph); err == nil {
		return errors.New("a graph was opened as a library")
	}
	return nil
}
