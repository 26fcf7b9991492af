package gotvm

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unsafe"
)

// TensorInfo describes an input or output of a model.
type TensorInfo struct {
	Name  string
	DType string // such as "float32"
	Shape []int64

	dtype dataType
}

// String is such as `data float32 [1, 3, 224, 224]`.
func (t TensorInfo) String() string {
	return fmt.Sprintf("%s %s %s", t.Name, t.DType, printShape(t.Shape))
}

// Model is a compiled model: library, graph and weights. It may be used from any goroutine; what runs it are
// its sessions, which share the weights.
type Model struct {
	lib     *Module
	plan    *part
	params  *part // nil: there is no parameter file
	inputs  []TensorInfo
	outputs []TensorInfo
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
// without parameters, or to set them as inputs.
type Files struct {
	Lib, Graph, Params string
}

// Blobs are the contents of a model's three files, for example from //go:embed. They are not needed after
// OpenBytes returned. Params may be nil for a model without parameters, or to set them as inputs.
type Blobs struct {
	Lib, Graph, Params []byte
}

// Open opens the model in a folder that holds one .so file, one .json file and at most one .params file.
//
// Opening a library runs code that is in it: open only what you trust.
func Open(path string) (*Model, error) {
	files, err := findFiles(path)
	if err != nil {
		return nil, doing("Open", path, err)
	}
	return OpenFiles(files)
}

func findFiles(folder string) (Files, error) {
	info, err := os.Stat(folder)
	if err != nil {
		return Files{}, fileError(err)
	}
	if !info.IsDir() {
		return Files{}, newError(kindUnsupported, "%s is a file: Open takes a folder with a .so, a .json and a .params file; OpenFiles takes the three files", folder)
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return Files{}, fileError(err)
	}
	var files Files
	for _, kind := range []struct {
		ending string
		path   *string
	}{{".so", &files.Lib}, {".json", &files.Graph}, {".params", &files.Params}} {
		for _, entry := range entries {
			if entry.IsDir() || filepath.Ext(entry.Name()) != kind.ending {
				continue
			}
			if *kind.path != "" {
				return Files{}, newError(kindValue, "there are several %s files: name the ones to use with OpenFiles", kind.ending)
			}
			*kind.path = filepath.Join(folder, entry.Name())
		}
		if *kind.path == "" && kind.ending != ".params" {
			return Files{}, newError(kindNotFound, "there is no %s file", kind.ending)
		}
	}
	return files, nil
}

// fileError makes an error of this package of one of package os; it is found inside.
func fileError(err error) error {
	kind := kindOS
	if os.IsNotExist(err) {
		kind = kindNotFound
	}
	e := newError(kind, "%v", err)
	e.Err = err
	return e
}

// OpenFiles opens the model in three files.
//
// Opening a library runs code that is in it: open only what you trust.
func OpenFiles(files Files) (*Model, error) {
	if files.Lib == "" || files.Graph == "" {
		return nil, doing("OpenFiles", "", newError(kindValue, "Lib and Graph are needed: got %+v", files))
	}
	graph, err := os.ReadFile(files.Graph)
	if err != nil {
		return nil, doing("OpenFiles", "", fileError(err))
	}
	var params []byte
	if files.Params != "" {
		if params, err = os.ReadFile(files.Params); err != nil {
			return nil, doing("OpenFiles", "", fileError(err))
		}
	}
	m, err := newModel(files.Graph, graph, files.Params, params)
	if err != nil {
		return nil, doing("OpenFiles", "", err)
	}
	if m.lib, err = LoadModuleFromFile(files.Lib); err != nil {
		_ = m.Close()
		return nil, err
	}
	return m, nil
}

// OpenBytes opens the model in three byte slices. Nothing is written to disk.
//
// Opening a library runs code that is in it: open only what you trust.
func OpenBytes(blobs Blobs) (*Model, error) {
	if len(blobs.Lib) == 0 || len(blobs.Graph) == 0 {
		return nil, doing("OpenBytes", "", newError(kindValue, "Lib and Graph are needed: got %d and %d bytes", len(blobs.Lib), len(blobs.Graph)))
	}
	m, err := newModel("Graph", blobs.Graph, "Params", blobs.Params)
	if err != nil {
		return nil, doing("OpenBytes", "", err)
	}
	if m.lib, err = loadModuleFromBytes("Lib", blobs.Lib); err != nil {
		_ = m.Close()
		return nil, doing("OpenBytes", "", err)
	}
	return m, nil
}

// newModel reads the data of a model, before any code of its library runs. Without params, paramsName is not
// used.
func newModel(graphName string, graph []byte, paramsName string, params []byte) (m *Model, err error) {
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
	if params != nil {
		placed, err := newParams(paramsName, params, CPU(0))
		if err != nil {
			return m, err
		}
		m.params = newPart(placed)
	}
	m.outputs = planOutputs(plan)
	m.ports = make(map[string]port)
	for i, info := range planInputs(plan) {
		m.ports[info.Name] = port{i, info}
		if m.params == nil || !paramsHave(m.params.ptr, info.Name) {
			m.inputs = append(m.inputs, info)
		}
	}
	return m, nil
}

// Inputs lists what a run needs, in the order of the graph: its inputs without those that the parameters give.
func (m *Model) Inputs() []TensorInfo {
	if m == nil {
		return nil
	}
	return cloneInfos(m.inputs)
}

// Outputs lists what a run gives, in order. A name is that of the graph's node that makes the output.
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

// Module is the compiled library, for calling its functions directly. It is closed with the model.
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
		return nilError("model")
	}
	if m.lib != nil {
		_ = m.lib.Close()
	}
	if m.plan != nil {
		m.plan.close()
	}
	if m.params != nil {
		m.params.close()
	}
	return nil
}

// inputNames is for messages.
func (m *Model) inputNames() string {
	names := make([]string, len(m.inputs))
	for i, info := range m.inputs {
		names[i] = fmt.Sprintf("%q", info.Name)
	}
	return strings.Join(names, ", ")
}
