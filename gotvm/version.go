package gotvm

import (
	"fmt"
	"strings"
)

// Version is this package's release.
const Version = "0.1.0"

// Build says what is compiled into a program.
type Build struct {
	Version  string   // of this package
	TVM      string   // the last TVM release whose compiled code and C API this is compatible with
	DLPack   int      // version of DLPack's header, such as 60 for 0.6
	CJSON    string   // version of the cJSON library, the one that the program found when it started
	Compiler string   // of the C code, such as "gcc 12.2.0"
	Devices  []string // kinds of devices, such as "cpu"; [Devices] lists those that there are
}

// BuildInfo says what is compiled into this program; for bug reports.
func BuildInfo() Build {
	b := Build{Version: Version, TVM: TVMVersion, DLPack: DLPackVersion, CJSON: cjsonVersion(), Compiler: compiler()}
	for _, kind := range deviceKinds() {
		b.Devices = append(b.Devices, kind.name)
	}
	return b
}

// String is one line.
func (b Build) String() string {
	return fmt.Sprintf("gotvm %s (TVM %s, DLPack %d, cJSON %s, %s, devices: %s)",
		b.Version, b.TVM, b.DLPack, b.CJSON, b.Compiler, strings.Join(b.Devices, ", "))
}
