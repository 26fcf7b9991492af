package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/gotvm/gotvm/gotvm"
)

// What magika's own library answers is in testdata: see scripts/make_filetype_testdata.py. The network itself and the
// whole program are checked by scripts/test-filetype.

func readTestdata(t *testing.T, name string, value any) {
	t.Helper()
	if err := readJSON(filepath.Join("testdata", name), value); err != nil {
		t.Fatal(err)
	}
}

func testConfig(t *testing.T) *config {
	t.Helper()
	c, err := readConfig("testdata/any.so")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// without is a detector that fails the test, with a panic, if it asks the model.
func without(c *config) *detector {
	return &detector{config: c, tokens: make([]int32, c.tokens())}
}

func TestPaths(t *testing.T) {
	var wants map[string]string
	readTestdata(t, "paths.json", &wants)
	if len(wants) < 7 {
		t.Fatalf("%d paths", len(wants))
	}
	detector := without(testConfig(t))
	folder := t.TempDir()
	for name := range wants {
		path := filepath.Join(folder, name)
		var err error
		switch target, isLink := strings.CutPrefix(name, "link-to-"); {
		case isLink:
			err = os.Symlink(target, path)
		case name == "folder":
			err = os.Mkdir(path, 0o700)
		case name == "pipe":
			err = syscall.Mkfifo(path, 0o600)
		case name == "empty":
			err = os.WriteFile(path, nil, 0o600)
		case name == "short":
			err = os.WriteFile(path, []byte("a"), 0o600)
		default:
			t.Fatalf("testdata has a new path, %s", name)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range wants {
		verdict, err := detector.detect(context.Background(), filepath.Join(folder, name))
		if err != nil || verdict.label != want || verdict.guess != "" {
			t.Errorf("%s: %+v, %v, want %s without the model", name, verdict, err, want)
		}
	}
}

func TestContents(t *testing.T) {
	var cases []struct {
		Content []byte
		Tokens  []int32 // null: the model is not asked
		Label   string  // then
	}
	readTestdata(t, "contents.json", &cases)
	if len(cases) < 300 {
		t.Fatalf("%d contents", len(cases))
	}
	c := testConfig(t)
	path := filepath.Join(t.TempDir(), "file")
	for _, want := range cases {
		if err := os.WriteFile(path, want.Content, 0o600); err != nil {
			t.Fatal(err)
		}
		begin, end, err := readEnds(path, int64(len(want.Content)), c.BlockSize)
		if err != nil {
			t.Fatal(err)
		}
		tokens := make([]int32, c.tokens())
		enough := c.tokenize(tokens, begin, end)
		switch {
		case enough != (want.Tokens != nil):
			t.Errorf("%q: enough for the model is %v, want %v", want.Content, enough, !enough)
		case enough && !slices.Equal(tokens, want.Tokens):
			t.Errorf("%q: tokens\n%d, want\n%d", want.Content, tokens, want.Tokens)
		case !enough:
			verdict, err := without(c).detect(context.Background(), path)
			if err != nil || verdict.label != want.Label {
				t.Errorf("%q: %+v, %v, want %s", want.Content, verdict, err, want.Label)
			}
		}
	}
}

func TestDecisions(t *testing.T) {
	var cases []struct {
		Scores        []float32
		Label, Guess  string
		Score         float32
		Type, Perhaps string // as magika writes them; Perhaps is "" unless the score was too low
	}
	readTestdata(t, "decisions.json", &cases)
	if len(cases) < 30 {
		t.Fatalf("%d decisions", len(cases))
	}
	c := testConfig(t)
	for _, want := range cases {
		v := c.decide(want.Scores)
		if v.label != want.Label || v.guess != want.Guess || v.score != want.Score {
			t.Errorf("%v: %+v, want %s by %s %v", want.Scores, v, want.Label, want.Guess, want.Score)
		}
		line := c.describe(v)
		what := line[:strings.LastIndex(line, " ")]
		if kind, perhaps, _ := strings.Cut(what, ", perhaps "); kind != want.Type || perhaps != want.Perhaps {
			t.Errorf("%v: %q, want %q and %q", want.Scores, line, want.Type, want.Perhaps)
		}
	}
}

func TestDescribe(t *testing.T) {
	c := testConfig(t)
	for want, v := range map[string]verdict{
		"Empty file (inode)":          {label: "empty"},
		"Python source (code) 0.9988": {label: "python", guess: "python", score: 0.99884, sure: true},
		"Generic text document (text), perhaps Python source (code) 0.4000": {label: "txt", guess: "python", score: 0.4},
	} {
		if line := c.describe(v); line != want {
			t.Errorf("%+v: %q, want %q", v, line, want)
		}
	}
}

func TestBadConfig(t *testing.T) {
	for field, test := range map[string]struct {
		value any
		want  string
	}{
		"mid_size":              {512, "more than the beginning and the end"},
		"use_inputs_at_offsets": {true, "more than the beginning and the end"},
		"beg_size":              {9, "beg_size 9, end_size 5 and block_size 8"},
		"end_size":              {-1, "end_size -1"},
		"block_size":            {0, "block_size 0"},
		"min_file_size_for_dl":  {7, "min_file_size_for_dl is 7, want 1 to beg_size, 6"},
		"target_labels_space":   {[]string{}, "target_labels_space is empty"},
		"overwrite_map":         {map[string]string{"txt": "new"}, `"new"`},
		"padding_token":         {"x", "padding_token"},
	} {
		var config map[string]any
		readTestdata(t, "config.min.json", &config)
		config[field] = test.value
		folder := t.TempDir()
		if err := os.CopyFS(folder, os.DirFS("testdata")); err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(config)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(folder, "config.min.json")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err = readConfig(filepath.Join(folder, "any.so"))
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s = %v: error %v, want one with the path and %q", field, test.value, err, test.want)
		}
	}
}

func TestMissingModel(t *testing.T) {
	var out bytes.Buffer
	err := run(context.Background(), &out, filepath.Join(t.TempDir(), "magika.so"), []string{"main.go"})
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "make_relax_models.py --only magika") {
		t.Errorf("error %v, want one that says how to make the model", err)
	}
	err = run(context.Background(), &out, "testdata/none.so", []string{"main.go"})
	if !errors.Is(err, gotvm.ErrNotFound) || !strings.Contains(err.Error(), "testdata/none.so") {
		t.Errorf("error %v, want one that names the library", err)
	}
	if out.Len() != 0 {
		t.Errorf("it printed %q", out.String())
	}
}

// The model of sample/digits takes pictures, and its scores are for digits.
func TestWrongModel(t *testing.T) {
	digits := "../digits/model/digits"
	model, err := gotvm.OpenFiles(gotvm.Files{
		Lib: digits + "_" + runtime.GOARCH + ".so", Graph: digits + ".json", Params: digits + ".params"})
	if err != nil {
		t.Fatal(err)
	}
	defer model.Close()
	_, err = newDetector(model, testConfig(t))
	if !errors.Is(err, gotvm.ErrInvalidArgument) || !strings.Contains(err.Error(), "image") {
		t.Errorf("error %v, want one about the input", err)
	}
}

func TestUnreadableFiles(t *testing.T) {
	detector := without(testConfig(t))
	missing := filepath.Join(t.TempDir(), "missing")
	if _, err := detector.detect(context.Background(), missing); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("error %v, want one about %s", err, missing)
	}
	for _, size := range []int64{4, 40} {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, []byte("abc"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := readEnds(path, size, 8)
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("a file of 3 bytes that had %d: error %v, want one with the path", size, err)
		}
	}
}
