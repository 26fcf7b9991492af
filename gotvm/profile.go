package gotvm

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Profile says where the time of one run went. It prints as a table ([Profile.WriteTable]); as JSON it has the
// names of the fields in small letters, and times in nanoseconds: "total_ns", and in "operators" each one's "name",
// "function", "start_ns", "duration_ns", "device_ns", "inputs", "outputs" (with "name", "dtype" and "shape") and
// "bytes".
type Profile struct {
	Operators []OperatorProfile `json:"operators"` // in the order of their running
	Total     time.Duration     `json:"total_ns"`  // of the whole run
}

// OperatorProfile is one operator of a run. Of a graph, it is a node; of a Relax executable, a call: of a kernel, of
// a function that the program has registered, or of one of the builtins that copy elements or wait for them, such as
// vm.builtin.to_device. The other builtins handle values and memory, and what they take is what Total has beyond the
// operators.
type OperatorProfile struct {
	Name     string        `json:"name"`     // of the graph's node; of a Relax executable: the same as Function
	Function string        `json:"function"` // that the compiler made for it, in the model's library
	Start    time.Duration `json:"start_ns"` // since the run began
	Duration time.Duration `json:"duration_ns"`
	// DeviceTime is what the operator's kernels took on a device that works on its own, such as OpenCL's, by the
	// device's clock. What Duration has beyond it went to launching them and waiting for them. It is 0 on the CPU,
	// and for copies.
	DeviceTime time.Duration `json:"device_ns,omitempty"`
	// Inputs, weights among them, and outputs. In a graph each is called as the node that makes it; in a Relax
	// executable they have no names, and a tensor that a kernel changes in place is among the inputs.
	Inputs  []TensorInfo `json:"inputs"`
	Outputs []TensorInfo `json:"outputs"`
	Bytes   int64        `json:"bytes"` // size of all inputs and outputs: about what it reads and writes
}

// Profile runs the model once, with what its inputs hold since the last [Session.Run] or [Session.BindInput], and
// measures each operator. The outputs are computed as in any run; only bound ones can be seen.
//
// A session's first run takes longer than the following ones. So, to see what a run usually takes, Run before.
// Where a device works on its own, such as a GPU, each operator waits for the one before, and the total is longer
// than that of a run that is not measured.
//
// Of a Relax executable, Profile calls the function main, as Run does; [Session.ProfileCall] is for the others. One
// that was compiled with exec_mode="compiled" is an error, [ErrUnsupported]: its kernels are called from machine code.
//
// As with Run, ctx can end it, and it is an error, [ErrBusy], while the session runs.
func (s *Session) Profile(ctx context.Context) (*Profile, error) {
	p, err := s.profile(ctx, func() error {
		outputs, err := s.program.run(ctx, s, nil)
		s.program.discard(outputs)
		return err
	})
	return p, doing("Profile", "", err)
}

// ProfileCall calls a function of a Relax executable, as [Session.Call] does, measures it as [Session.Profile] does,
// and drops the result.
func (s *Session) ProfileCall(ctx context.Context, function string, args ...any) (*Profile, error) {
	p, err := s.profile(ctx, func() error {
		result, err := s.program.call(ctx, s, function, args)
		if err == nil {
			_ = result.Close()
		}
		return err
	})
	return p, doing("ProfileCall", "", err)
}

// profile measures what run runs in the session.
func (s *Session) profile(ctx context.Context, run func() error) (*Profile, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	if ctx == nil {
		return nil, nilError("context")
	}
	return contextProfile(s.context, run)
}

// Bandwidth is Bytes divided by DeviceTime or, where there is none, by Duration, in GB/s. Near to what the machine's
// memory can do, the operator waits for memory, and faster arithmetic would not help it. It is 0 when the time was too
// short to measure.
func (o OperatorProfile) Bandwidth() float64 {
	d := o.DeviceTime
	if d == 0 {
		d = o.Duration
	}
	if d <= 0 {
		return 0
	}
	return float64(o.Bytes) / float64(d) // bytes per nanosecond are GB/s
}

// String is the table that WriteTable writes.
func (p *Profile) String() string {
	if p == nil {
		return "<nil profile>"
	}
	var text strings.Builder
	_ = p.WriteTable(&text)
	return text.String()
}

// WriteTable writes a table of the operators, the slowest first: time, share of the whole run, time on the device
// where one has any (see [OperatorProfile.DeviceTime]), bytes and GB/s (see [OperatorProfile.Bandwidth]), element
// types and shapes.
func (p *Profile) WriteTable(w io.Writer) error {
	if p == nil {
		return doing("WriteTable", "", nilError("profile"))
	}
	operators := slices.Clone(p.Operators)
	slices.SortStableFunc(operators, func(a, b OperatorProfile) int { return cmp.Compare(b.Duration, a.Duration) })
	rows := [][]string{{"operator", "µs", "%", "device µs", "bytes", "GB/s", "inputs → outputs"}}
	var sum, device time.Duration
	for _, o := range operators {
		sum += o.Duration
		device += o.DeviceTime
		rows = append(rows, []string{o.Name, micros(o.Duration), p.share(o.Duration), micros(o.DeviceTime), fmt.Sprint(o.Bytes),
			fmt.Sprintf("%.2f", o.Bandwidth()), shapes(o.Inputs) + " → " + shapes(o.Outputs)})
	}
	rows = append(rows,
		[]string{"all operators", micros(sum), p.share(sum), micros(device), "", "", ""},
		[]string{"whole run", micros(p.Total), p.share(p.Total), "", "", "", ""})
	if device == 0 {
		for i, row := range rows {
			rows[i] = slices.Delete(row, 3, 4)
		}
	}
	return writeRows(w, rows)
}

// writeRows aligns the first and the last column on the left and those between on the right.
func writeRows(w io.Writer, rows [][]string) error {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, text := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(text))
		}
	}
	var out bytes.Buffer
	for _, row := range rows {
		line := fmt.Sprintf("%-*s", widths[0], row[0])
		for i := 1; i < len(row)-1; i++ {
			line += fmt.Sprintf("  %*s", widths[i], row[i])
		}
		out.WriteString(strings.TrimRight(line+"  "+row[len(row)-1], " ") + "\n")
	}
	_, err := w.Write(out.Bytes())
	return err
}

func micros(d time.Duration) string {
	return fmt.Sprintf("%.3f", float64(d)/1e3)
}

// share is d in percent of the whole run.
func (p *Profile) share(d time.Duration) string {
	if p.Total <= 0 {
		return "0.0"
	}
	return fmt.Sprintf("%.1f", 100*float64(d)/float64(p.Total))
}

func shapes(infos []TensorInfo) string {
	return strings.Join(shapeTexts(infos), ", ")
}

func shapeTexts(infos []TensorInfo) []string {
	texts := make([]string, len(infos))
	for i, info := range infos {
		texts[i] = info.DType + " " + printShape(info.Shape)
	}
	return texts
}

// A traceEvent is one of Chrome's trace event format, with times in microseconds.
type traceEvent struct {
	Name     string         `json:"name"`
	Category string         `json:"cat"`
	Phase    string         `json:"ph"` // X: complete, with its duration; M: metadata
	Time     float64        `json:"ts"`
	Duration float64        `json:"dur"`
	Process  int            `json:"pid"`
	Thread   int            `json:"tid"`
	Args     map[string]any `json:"args"`
}

// WriteTrace writes the run in Chrome's trace event format, for chrome://tracing and https://ui.perfetto.dev: an event
// "run", and in it one for each operator, whose args are "function", "inputs", "outputs", "bytes" and, where it has
// any, "device_us", the time on the device in microseconds.
func (p *Profile) WriteTrace(w io.Writer) error {
	if p == nil {
		return doing("WriteTrace", "", nilError("profile"))
	}
	event := func(name, category string, start, duration time.Duration, args map[string]any) traceEvent {
		return traceEvent{Name: name, Category: category, Phase: "X", Time: float64(start) / 1e3,
			Duration: float64(duration) / 1e3, Process: 1, Thread: 1, Args: args}
	}
	name := event("process_name", "", 0, 0, map[string]any{"name": "gotvm"})
	name.Phase = "M"
	events := []traceEvent{name, event("run", "run", 0, p.Total, map[string]any{})}
	for _, o := range p.Operators {
		args := map[string]any{
			"function": o.Function,
			"inputs":   shapeTexts(o.Inputs),
			"outputs":  shapeTexts(o.Outputs),
			"bytes":    o.Bytes,
		}
		if o.DeviceTime > 0 {
			args["device_us"] = float64(o.DeviceTime) / 1e3
		}
		events = append(events, event(o.Name, "operator", o.Start, o.Duration, args))
	}
	return json.NewEncoder(w).Encode(map[string]any{"traceEvents": events, "displayTimeUnit": "ns"})
}
