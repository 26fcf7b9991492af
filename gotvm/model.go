package gotvm

import (
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// TensorInfo describes an input or output of a model.
type TensorInfo struct {
	Name  string  `json:"name"`
	DType string  `json:"dtype"` // such as "float32"; "": no tensor, or unknown
	Shape []int64 `json:"shape"` // -1: a dimension that is not fixed; nil: unknown

	dtype dataType
}

// String is such as `data float32 [1, 3, 224, 224]`, without what is unknown.
func (t TensorInfo) String() string {
	var shape string
	if t.Shape != nil {
		shape = printShape(t.Shape)
	}
	known := slices.DeleteFunc([]string{t.Name, t.DType, shape}, func(s string) bool { return s == "" })
	return strings.Join(known, " ")
}

// Model is a compiled model: library, graph and weights. It may be used from any goroutine; what runs it are
// its sessions, which share the weights.
type Model struct {
	lib        *Module
	code       *part // the module that has the graph's functions
	plan       *part
	executable *executable // nil: the model is a graph
	weights    *part       // nil: there are none
	inputs     []TensorInfo
	outputs    []TensorInfo
	blob       atomic.Pointer[[]byte] // what the weights are in, unless that is a file; nil when the model is closed
	// Where each input stands in the graph, by name; parameters included, so that a session can replace one.
	ports map[string]port
}

// port is an input of a graph.
type port struct {
	index int
	info  TensorInfo
}

// part is a handle that only this package sees.
type part struct{ object }

func newPart(ptr unsafe.Pointer) *part {
	p := &part{}
	initObject(p, &p.object, ptr, &live.objects)
	return p
}

// Files are the paths of a model's three files, as TVM 0.5 to 0.19 write them. Params may be "" for a model
// without parameters, or to set them as inputs. That file is kept open until the model is closed, and read when
// a session is made: put a new one in its place by renaming, not by writing over it.
type Files struct {
	Lib, Graph, Params string
}

// Blobs are the contents of a model's three files, for example from //go:embed. Params may be nil for a model
// without parameters, or to set them as inputs. It is kept, and read when a session is made: its bytes must not
// be changed until the model is closed. Lib and Graph are not needed after OpenBytes returned.
//
// Lib alone may be any model that is one file: a factory library, which is not needed after OpenBytes returned,
// or a tvmc package, whose bytes must not be changed until the model is closed.
type Blobs struct {
	Lib, Graph, Params []byte
}

// checkPath refuses paths that cannot be those of files.
func checkPath(path string) error {
	_, err := cString("path", path)
	return err
}

// openRegular opens a regular file for reading. Another one, such as a pipe, might block for ever or never end.
func openRegular(path string) (*os.File, int64, error) {
	if err := checkPath(path); err != nil {
		return nil, 0, err
	}
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, fileError(err)
	}
	info, err := file.Stat()
	switch {
	case err != nil:
		err = fileError(err)
	case !info.Mode().IsRegular():
		err = newError(kindOS, "%s: cannot be used: it is no regular file", path)
	default:
		return file, info.Size(), nil
	}
	_ = file.Close()
	return nil, 0, err
}

// readRegular reads a regular file.
func readRegular(path string) ([]byte, error) {
	file, size, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if size > math.MaxInt || size > probeSize && !canAllocate(int(size)) {
		return nil, newError(kindMemory, "%s: cannot allocate %d bytes", path, size)
	}
	data := make([]byte, size)
	n, err := io.ReadFull(file, data)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF { // of a file that has become shorter
		return nil, fileError(err)
	}
	return data[:n], nil
}

// fileError makes an error of this package of one of package os; it is found inside.
func fileError(err error) error {
	kind := kindOS
	if os.IsNotExist(err) {
		kind = kindNotFound
	}
	e := newError(kind, "%v", err)
	if p, ok := err.(*os.PathError); ok { // which says what was done, too
		e.Message = p.Path + ": " + p.Err.Error()
	}
	e.Err = err
	return e
}

// OpenFiles opens the model in three files, or in fewer: without Graph, Lib is what [Open] opens from one file, and
// Params, if not "", gives parameters of a Relax executable's function main.
//
// Opening a library runs code that is in it: open only what you trust.
func OpenFiles(files Files) (*Model, error) {
	m, err := openFiles(files)
	return m, doing("OpenFiles", "", err)
}

func openFiles(files Files) (*Model, error) {
	if files.Lib == "" {
		return nil, newError(kindValue, "expected a path for Lib, got none")
	}
	var params *os.File
	var err error
	if files.Params != "" {
		if params, _, err = openRegular(files.Params); err != nil {
			return nil, err
		}
		defer params.Close()
	}
	if files.Graph == "" {
		return openLone(files.Lib, nil, files.Params, params, nil)
	}
	graph, err := readRegular(files.Graph)
	if err != nil {
		return nil, err
	}
	m, err := newModel(files.Graph, graph, files.Params, params, nil)
	if err != nil {
		return nil, err
	}
	return m.withLibrary(loadModule(files.Lib, nil))
}

// openLone opens a model without a graph beside it; parameters for it, if any, are in file or blob.
func openLone(path string, data []byte, paramsName string, file *os.File, blob []byte) (*Model, error) {
	m, err := openPackage(path, data)
	if err != nil || file == nil && blob == nil {
		return m, err
	}
	if m.executable == nil {
		_ = m.Close()
		return nil, newError(kindValue, "%s has parameters of its own: expected no Params, got %s", path, paramsName)
	}
	if err := m.setWeights(nil, paramsName, file, blob); err != nil {
		_ = m.Close()
		return nil, err
	}
	m.describeExecutable(m.executable.ptr)
	return m, nil
}

// OpenBytes opens the model in byte slices: three, or Lib alone for what [Open] opens from one file. Nothing is
// written to disk.
//
// Opening a library runs code that is in it: open only what you trust.
func OpenBytes(blobs Blobs) (*Model, error) {
	m, err := openBytes(blobs)
	return m, doing("OpenBytes", "", err)
}

func openBytes(blobs Blobs) (*Model, error) {
	switch {
	case len(blobs.Lib) == 0:
		return nil, newError(kindValue, "expected bytes for Lib, got none")
	case len(blobs.Graph) == 0:
		return openLone("Lib", blobs.Lib, "Params", nil, blobs.Params)
	}
	m, err := newModel("Graph", blobs.Graph, "Params", nil, blobs.Params)
	if err != nil {
		return nil, err
	}
	return m.withLibrary(loadModuleFromBytes("Lib", blobs.Lib))
}

// withLibrary makes lib the model's library, or closes the model.
func (m *Model) withLibrary(lib *Module, err error) (*Model, error) {
	if err != nil {
		_ = m.Close()
		return nil, err
	}
	m.lib = lib
	retain(lib.ptr)
	m.code = newPart(lib.ptr)
	return m, nil
}

// newModel reads the data of a model, before any code of its library runs. Its weights are in file or blob, or
// there are none.
func newModel(graphName string, graph []byte, weightsName string, file *os.File, blob []byte) (m *Model, err error) {
	m = &Model{}
	defer func() {
		if err != nil {
			_ = m.Close()
			m = nil
		}
	}()
	plan, err := newPlan(graphName, graph)
	if err != nil {
		return m, err
	}
	m.plan = newPart(plan)
	if file != nil || blob != nil {
		if err := m.setWeights(plan, weightsName, file, blob); err != nil {
			return m, err
		}
	}
	m.describe()
	return m, nil
}

// setWeights makes what is in file or blob the model's weights; plan may be nil.
func (m *Model) setWeights(plan unsafe.Pointer, name string, file *os.File, blob []byte) error {
	weights, err := newWeights(plan, name, file, blob)
	if err != nil {
		return err
	}
	m.weights = newPart(weights)
	if file == nil {
		m.blob.Store(&blob)
	}
	return nil
}

// describe finds out what the model's inputs and outputs are.
func (m *Model) describe() {
	m.outputs = planOutputs(m.plan.ptr)
	m.ports = make(map[string]port)
	infos, last := planInputs(m.plan.ptr), make(map[string]int)
	for i, info := range infos {
		m.ports[info.Name] = port{i, info}
		last[info.Name] = i
	}
	for i, info := range infos {
		// A parameter goes to the last input of its name. The compiler calls them p0, p1 and so on, and does not
		// mind when the model has such names, too.
		if m.weights == nil || i != last[info.Name] || !weightsHave(m.weights.ptr, info.Name) {
			m.inputs = append(m.inputs, info)
			m.ports[info.Name] = port{i, info}
		}
	}
}

// Inputs lists what a run needs, in the order of the graph: its inputs without those that the parameters give.
func (m *Model) Inputs() []TensorInfo {
	if m == nil {
		return nil
	}
	return cloneInfos(m.inputs)
}

// Outputs lists what a run gives, in order; nil where that is not known before a run, as of most Relax executables in
// machine code. A name is that of the graph's node that makes the output; the outputs of a Relax executable have none.
func (m *Model) Outputs() []TensorInfo {
	if m == nil {
		return nil
	}
	return cloneInfos(m.outputs)
}

func cloneInfos(infos []TensorInfo) []TensorInfo {
	infos = slices.Clone(infos)
	for i := range infos {
		infos[i].Shape = slices.Clone(infos[i].Shape)
	}
	return infos
}

// Module is the compiled library, for calling its functions directly; of a factory library, the factory. It is
// closed with the model.
func (m *Model) Module() *Module {
	if m == nil {
		return nil
	}
	return m.lib
}

// Close gives the model back. Sessions that were made of it go on: they keep what they need. Closing again
// does nothing.
func (m *Model) Close() error {
	if m == nil {
		return doing("Close", "", nilError("model"))
	}
	if m.lib != nil {
		_ = m.lib.Close()
	}
	if m.code != nil {
		m.code.close()
	}
	if m.plan != nil {
		m.plan.close()
	}
	if m.weights != nil {
		m.weights.close()
	}
	m.blob.Store(nil)
	return nil
}

// Functions lists what can be called: the functions of a Relax executable ([Session.Call]), or the one that a
// graph is, under the name main ([Session.Run]).
func (m *Model) Functions() []FunctionInfo {
	switch {
	case m == nil || m.lib == nil:
		return nil
	case m.executable == nil:
		return []FunctionInfo{{Name: "main", Params: m.Inputs(), Results: m.Outputs()}}
	}
	functions := slices.Clone(m.executable.functions)
	for i, f := range functions {
		functions[i].Params, functions[i].Results = cloneInfos(f.Params), cloneInfos(f.Results)
	}
	return functions
}

// checkInput finds the input called name and compares it with an array for it.
func (m *Model) checkInput(name string, x *Array) (index int, err error) {
	port, ok := m.ports[name]
	if !ok {
		return 0, m.noInput(name)
	}
	what := "input " + quote(name)
	switch {
	case x == nil:
		return 0, newError(kindValue, "%s: the array is nil", what)
	case x.ptr == nil: // of no type or shape, then
		return 0, newError(kindClosed, "%s: the array is closed", what)
	}
	return port.index, port.info.check(what, x)
}

func (m *Model) noInput(name string) *Error {
	return newError(kindNotFound, "there is no input %s: the model has %s", quote(name), m.inputNames())
}

// check says whether x can stand for what t describes; what names that in messages.
func (t TensorInfo) check(what string, x *Array) error {
	if t.DType != "" && x.dtype != t.dtype {
		return newError(kindType, "%s: expected %s, got %s", what, t.dtype, x.dtype)
	}
	fits := func(want, got int64) bool { return want < 0 || want == got }
	if t.Shape != nil && !slices.EqualFunc(t.Shape, x.shape, fits) {
		return newError(kindValue, "%s: expected shape %s, got %s", what, printShape(t.Shape), printShape(x.shape))
	}
	return nil
}

// inputNames is for messages.
func (m *Model) inputNames() string {
	if len(m.inputs) == 0 {
		return "none"
	}
	names := make([]string, len(m.inputs))
	for i, info := range m.inputs {
		names[i] = quote(info.Name)
	}
	return strings.Join(names, ", ")
}
