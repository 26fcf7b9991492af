package gotvm_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gotvm/gotvm/gotvm"
)

// A graphFile is what the tests need of deploy.json.
type graphFile struct {
	Nodes []struct {
		Op, Name string
		Attrs    struct {
			FuncName string `json:"func_name"`
		}
		Inputs [][]int
	}
	NodeRowPtr []int `json:"node_row_ptr"`
	Attrs      struct {
		DLType []json.RawMessage
		Shape  []json.RawMessage
	}
}

func (g graphFile) shapes(tb testing.TB) (shapes [][]int64, dtypes []string) {
	tb.Helper()
	if err := errors.Join(json.Unmarshal(g.Attrs.Shape[1], &shapes), json.Unmarshal(g.Attrs.DLType[1], &dtypes)); err != nil {
		tb.Fatal(err)
	}
	return shapes, dtypes
}

func readGraph(tb testing.TB, c zooCase) graphFile {
	tb.Helper()
	var g graphFile
	if err := json.Unmarshal(readFile(tb, c.path("deploy.json")), &g); err != nil {
		tb.Fatal(err)
	}
	return g
}

// wantOperators is what a profile should list, by the graph file: names, shapes and types.
func wantOperators(tb testing.TB, c zooCase) []gotvm.OperatorProfile {
	tb.Helper()
	g := readGraph(tb, c)
	shapes, dtypes := g.shapes(tb)
	size := map[string]int64{"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int8": 1, "uint8": 1, "int16": 2, "int32": 4, "int64": 8, "uint64": 8, "bool": 1, "uint1": 1}
	var operators []gotvm.OperatorProfile
	for n, node := range g.Nodes {
		if node.Op == "null" || node.Attrs.FuncName == "__nop" {
			continue
		}
		o := gotvm.OperatorProfile{Name: node.Name, Function: node.Attrs.FuncName}
		tensor := func(node, entry int) gotvm.TensorInfo {
			bytes, ok := size[dtypes[entry]]
			if !ok {
				tb.Fatalf("a tensor of %s", dtypes[entry])
			}
			for _, n := range shapes[entry] {
				bytes *= n
			}
			o.Bytes += bytes
			dtype := strings.Replace(dtypes[entry], "uint1", "bool", 1)
			return gotvm.TensorInfo{Name: g.Nodes[node].Name, DType: dtype, Shape: shapes[entry]}
		}
		for _, input := range node.Inputs {
			o.Inputs = append(o.Inputs, tensor(input[0], g.NodeRowPtr[input[0]]+input[1]))
		}
		for entry := g.NodeRowPtr[n]; entry < g.NodeRowPtr[n+1]; entry++ {
			o.Outputs = append(o.Outputs, tensor(n, entry))
		}
		operators = append(operators, o)
	}
	return operators
}

func printTensors(infos []gotvm.TensorInfo) (texts []string) {
	for _, info := range infos {
		texts = append(texts, info.String())
	}
	return texts
}

// checkTimes checks that operators ran one after the other, within a call that took wall.
func checkTimes(tb testing.TB, p *gotvm.Profile, wall time.Duration) {
	tb.Helper()
	var end time.Duration
	for _, o := range p.Operators {
		if o.Start < end || o.Duration < 0 || o.DeviceTime < 0 || o.DeviceTime > o.Duration {
			tb.Errorf("%s: from %v for %v, on the device %v, and the one before ends at %v", o.Name, o.Start, o.Duration, o.DeviceTime, end)
		}
		end = o.Start + o.Duration
	}
	if p.Total < end || p.Total > wall {
		tb.Errorf("the run took %v: the last operator ended after %v, and the call took %v", p.Total, end, wall)
	}
}

// All test models: the profile lists the graph's operators, and its times fit together.
func TestProfile(t *testing.T) {
	for _, c := range zooCases(t) {
		t.Run(c.Gen+"/"+c.Case, func(t *testing.T) {
			reference := readReference(t, c.path("reference.params"))
			s := newTestSession(t, openCase(t, c))
			for i := range c.Outputs {
				if err := s.BindOutput(i, reference[fmt.Sprintf("out:%d", i)].array(t)); err != nil {
					t.Fatal(err)
				}
			}
			compareOutputs(t, runSession(t, s, inputsOf(t, reference)), reference, c)
			start := time.Now()
			p, err := s.Profile(context.Background())
			wall := time.Since(start)
			if err != nil {
				t.Fatal(err)
			}
			want := wantOperators(t, c)
			if len(p.Operators) != len(want) {
				t.Fatalf("%d operators, want %d", len(p.Operators), len(want))
			}
			checkTimes(t, p, wall)
			for i, o := range p.Operators {
				if o.Name != want[i].Name || o.Function != want[i].Function || o.Bytes != want[i].Bytes {
					t.Errorf("operator %d is %s, %s, %d bytes, want %s, %s, %d", i, o.Name, o.Function, o.Bytes, want[i].Name, want[i].Function, want[i].Bytes)
				}
				if have, want := printTensors(o.Inputs), printTensors(want[i].Inputs); !reflect.DeepEqual(have, want) {
					t.Errorf("%s: the inputs are %q, want %q", o.Name, have, want)
				}
				if have, want := printTensors(o.Outputs), printTensors(want[i].Outputs); !reflect.DeepEqual(have, want) {
					t.Errorf("%s: the outputs are %q, want %q", o.Name, have, want)
				}
				if o.DeviceTime != 0 {
					t.Errorf("%s: %v on a device that is the CPU", o.Name, o.DeviceTime)
				}
			}
			compareOutputs(t, runSession(t, s, nil), reference, c) // with the inputs of the first
		})
	}
}

// A profile runs: what is bound as an output is computed.
func TestProfileComputes(t *testing.T) {
	c := zooCaseNamed(t, "tvm0.19", "dense")
	reference := readReference(t, c.path("reference.params"))
	s := newTestSession(t, openCase(t, c))
	for name, x := range inputsOf(t, reference) {
		if err := s.BindInput(name, x); err != nil {
			t.Fatal(err)
		}
	}
	y := must(gotvm.Empty(c.Outputs[0].Shape, c.Outputs[0].DType))
	if err := s.BindOutput(0, y); err != nil {
		t.Fatal(err)
	}
	must(s.Profile(context.Background()))
	compareOutputs(t, []*gotvm.Array{y}, reference, c)
}

// sample is a profile with round numbers.
func sample() *gotvm.Profile {
	small := []gotvm.TensorInfo{{Name: "x", DType: "float32", Shape: []int64{2, 3}}}
	return &gotvm.Profile{
		Operators: []gotvm.OperatorProfile{
			{Name: "füllen", Function: "f", Start: 500, Duration: 1000, Inputs: small, Outputs: small, Bytes: 48},
			{Name: "multiply", Function: "g", Start: 2000, Duration: 6500, Inputs: append(small, small...), Outputs: small, Bytes: 65000},
			{Name: "nothing", Function: "h", Start: 9000, Duration: 0, Outputs: []gotvm.TensorInfo{{DType: "bool", Shape: []int64{}}}, Bytes: 1},
		},
		Total: 10000,
	}
}

func TestProfileTable(t *testing.T) {
	want := strings.TrimLeft(`
operator           µs      %  bytes   GB/s  inputs → outputs
multiply        6.500   65.0  65000  10.00  float32 [2, 3], float32 [2, 3] → float32 [2, 3]
füllen          1.000   10.0     48   0.05  float32 [2, 3] → float32 [2, 3]
nothing         0.000    0.0      1   0.00   → bool []
all operators   7.500   75.0
whole run      10.000  100.0
`, "\n")
	if have := sample().String(); have != want {
		t.Errorf("have\n%s\nwant\n%s", have, want)
	}
	p := sample()
	p.Total = 0
	if text := p.String(); strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
		t.Errorf("a run that took no time prints as\n%s", text)
	}
	p = sample()
	p.Operators[1].DeviceTime = 4000
	want = strings.TrimLeft(`
operator           µs      %  device µs  bytes   GB/s  inputs → outputs
multiply        6.500   65.0      4.000  65000  16.25  float32 [2, 3], float32 [2, 3] → float32 [2, 3]
füllen          1.000   10.0      0.000     48   0.05  float32 [2, 3] → float32 [2, 3]
nothing         0.000    0.0      0.000      1   0.00   → bool []
all operators   7.500   75.0      4.000
whole run      10.000  100.0
`, "\n")
	if have := p.String(); have != want {
		t.Errorf("with a device: have\n%s\nwant\n%s", have, want)
	}
	if err := p.WriteTable(failingWriter{}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a writer's error becomes %v", err)
	}
	if err := p.WriteTrace(failingWriter{}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a writer's error becomes %v", err)
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestProfileJSON(t *testing.T) {
	p := sample()
	p.Operators[1].DeviceTime = 4000
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var raw struct {
		Total     int64            `json:"total_ns"`
		Operators []map[string]any `json:"operators"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		t.Fatal(err)
	}
	second := raw.Operators[1]
	if raw.Total != 10000 || second["name"] != "multiply" || second["function"] != "g" || second["start_ns"] != 2000.0 ||
		second["duration_ns"] != 6500.0 || second["bytes"] != 65000.0 || len(second["inputs"].([]any)) != 2 || second["device_ns"] != 4000.0 {
		t.Errorf("the JSON is %s", data)
	}
	if _, ok := raw.Operators[0]["device_ns"]; ok {
		t.Errorf("an operator without time on a device: %s", data)
	}
	var back gotvm.Profile
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if want := p; !reflect.DeepEqual(&back, want) {
		t.Errorf("read back: %+v, want %+v", back, want)
	}
}

// The keys that Chrome's trace event format requires of complete events.
func TestProfileTrace(t *testing.T) {
	var out bytes.Buffer
	p := sample()
	p.Operators[1].DeviceTime = 4000
	if err := p.WriteTrace(&out); err != nil {
		t.Fatal(err)
	}
	var trace struct {
		TraceEvents []map[string]any
	}
	if err := json.Unmarshal(out.Bytes(), &trace); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, event := range trace.TraceEvents {
		for _, key := range []string{"name", "ph", "ts", "pid", "tid"} {
			if _, ok := event[key]; !ok {
				t.Errorf("event %v has no %s", event, key)
			}
		}
		if event["ph"] == "M" {
			continue
		}
		if event["ph"] != "X" || event["dur"] == nil {
			t.Errorf("event %v is not complete", event)
		}
		names = append(names, fmt.Sprint(event["name"], " ", event["ts"], " ", event["dur"])) // in µs
	}
	if want := []string{"run 0 10", "füllen 0.5 1", "multiply 2 6.5", "nothing 9 0"}; !reflect.DeepEqual(names, want) {
		t.Errorf("the events are %q, want %q", names, want)
	}
	args := trace.TraceEvents[3]["args"].(map[string]any)
	if args["function"] != "g" || args["bytes"] != 65000.0 || fmt.Sprint(args["outputs"]) != "[float32 [2, 3]]" || args["device_us"] != 4.0 {
		t.Errorf("the arguments are %v", args)
	}
	if _, ok := trace.TraceEvents[2]["args"].(map[string]any)["device_us"]; ok {
		t.Error("an operator without time on a device has one in the trace")
	}
}

func TestProfileErrors(t *testing.T) {
	c := zooCaseNamed(t, "tvm0.19", "dense")
	reference := readReference(t, c.path("reference.params"))
	m := openCase(t, c)
	s := newTestSession(t, m)
	_, err := s.Profile(context.Background())
	wantError(t, err, gotvm.ErrInvalidArgument, "Profile", "1 input was never set: data")
	runSession(t, s, inputsOf(t, reference))
	var none context.Context
	_, err = s.Profile(none)
	wantError(t, err, nil, "Profile", "context")
	_, err = (*gotvm.Session)(nil).Profile(context.Background())
	wantError(t, err, nil, "session")

	cause := errors.New("the user went away")
	done, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	_, err = s.Profile(done)
	if !errors.Is(err, cause) || !errors.Is(err, gotvm.ErrCancelled) {
		t.Errorf("a profile with a done context gives %v", err)
	}
	if p := must(s.Profile(context.Background())); len(p.Operators) != 3 {
		t.Errorf("%d operators after a cancelled profile", len(p.Operators))
	}
	_ = s.Close()
	_, err = s.Profile(context.Background())
	wantError(t, err, gotvm.ErrClosed, "Profile", "session")

	// An operator that refuses its arguments: the graph has another shape than was compiled.
	blobs := readBlobs(t, c.files())
	blobs.Graph = regexp.MustCompile(`\[\s*4,\s*10\s*\]`).ReplaceAll(blobs.Graph, []byte("[5, 10]"))
	forged, err := gotvm.OpenBytes(blobs)
	if err != nil {
		t.Fatal(err)
	}
	defer forged.Close()
	bad := newTestSession(t, forged)
	if err := bad.BindInput("data", inputsOf(t, reference)["data"]); err != nil {
		t.Fatal(err)
	}
	_, err = bad.Profile(context.Background())
	wantError(t, err, nil, "Profile", wantOperators(t, c)[1].Function)
}

// Profiles and runs of one session at the same time, with contexts that end: each is right, busy or cancelled.
func TestProfileBusyAndCancelled(t *testing.T) {
	c := zooCaseNamed(t, "tvm0.19", "workspace")
	reference := readReference(t, c.path("reference.params"))
	s := newTestSession(t, openCase(t, c))
	runSession(t, s, inputsOf(t, reference))
	operators := len(wantOperators(t, c))
	cause := errors.New("the user went away")
	var group sync.WaitGroup
	var mu sync.Mutex
	var busy, right int
	begin := time.Now()
	more := func() bool {
		mu.Lock()
		defer mu.Unlock()
		past := time.Since(begin)
		return past < 300*time.Millisecond || (right == 0 || busy == 0) && past < 20*time.Second
	}
	for g := range 3 {
		group.Add(1)
		go func() {
			defer group.Done()
			for i := 0; more(); i++ {
				ctx, cancel := context.WithCancelCause(context.Background())
				if i%3 == 0 {
					go cancel(cause)
				}
				var p *gotvm.Profile
				var err error
				if g == 0 {
					_, err = s.Run(ctx, nil)
				} else {
					p, err = s.Profile(ctx)
				}
				mu.Lock()
				switch {
				case errors.Is(err, gotvm.ErrBusy):
					busy++
				case errors.Is(err, cause):
				case err != nil:
					t.Error(err)
				case p != nil:
					right++
					if len(p.Operators) != operators {
						t.Errorf("%d operators, want %d", len(p.Operators), operators)
					}
				}
				mu.Unlock()
				cancel(nil)
			}
		}()
	}
	group.Wait()
	if right == 0 || busy == 0 {
		t.Errorf("%d profiles were right and %d busy, want some of both", right, busy)
	}
	compareOutputs(t, runSession(t, s, nil), reference, c)
}

// TVM's debug executor from Go: each result as its clients expect it.
func TestDebugExecutor(t *testing.T) {
	c := zooCaseNamed(t, "tvm0.19", "dense")
	reference := readReference(t, c.path("reference.params"))
	nodes := readGraph(t, c).Nodes
	m := graphModule(t, c, "tvm.graph_executor_debug.create")
	call(t, m, "load_params", readFile(t, c.path("deploy.params")))
	call(t, m, "set_input", "data", inputsOf(t, reference)["data"])
	last := len(nodes) - 1
	output := call(t, m, "debug_get_output", nodes[last].Name).AsArray()
	compareOutput(t, "debug_get_output", output, reference["out:0"], c.RTol, c.ATol)
	times := call(t, m, "run_individual", 1, 2, 0, 100, 0, 1).AsBytes()
	if want := 8 + 2*8*len(nodes); len(times) != want {
		t.Errorf("run_individual gives %d bytes, want %d", len(times), want)
	}
	times = call(t, m, "run_individual_node", last, 1, 2, 0, 100, 0, 1).AsBytes()
	if len(times) != 16 {
		t.Errorf("run_individual_node gives %d bytes, want 16", len(times))
	}
	text := call(t, m, "run_individual", 1, 1, 0).AsStr()
	if n := strings.Count(text, ","); n != len(nodes) {
		t.Errorf("run_individual gives %q, want a number for each of %d nodes", text, len(nodes))
	}
	var report struct{ Calls []any }
	if err := json.Unmarshal([]byte(call(t, m, "profile", nil).AsStr()), &report); err != nil || len(report.Calls) != 3 {
		t.Errorf("profile lists %d operators, %v", len(report.Calls), err)
	}
	_, err := must(gotvm.GetGlobalFunction("tvm.graph_executor_cuda_graph.create")).Invoke("{}", load(t, c.path("deploy.so")), 1, 0)
	wantError(t, err, gotvm.ErrUnsupported, "tvm.graph_executor.create")
}
