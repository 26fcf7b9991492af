package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"unicode/utf8"
)

// config says how the model sees a file and what its scores mean, as magika's config.min.json does, and describes the
// types, as its content_types_kb.min.json does.
type config struct {
	BegSize    int                `json:"beg_size"`             // tokens from the beginning of a file
	EndSize    int                `json:"end_size"`             // and from its end
	BlockSize  int                `json:"block_size"`           // bytes that are read for either
	Padding    int32              `json:"padding_token"`        // stands where the file has no byte
	MinSize    int                `json:"min_file_size_for_dl"` // with fewer bytes the model is not asked
	Labels     []string           `json:"target_labels_space"`  // what the model's scores are for
	Threshold  float64            `json:"medium_confidence_threshold"`
	Thresholds map[string]float64 `json:"thresholds"`    // for labels that need another one
	Overwrite  map[string]string  `json:"overwrite_map"` // labels that stand for others

	// Ways of seeing a file that other models of magika had, and this program does not know.
	MidSize   int  `json:"mid_size"`
	AtOffsets bool `json:"use_inputs_at_offsets"`

	info map[string]typeInfo
}

// typeInfo describes a type; the group of some is null.
type typeInfo struct {
	Description string `json:"description"`
	Group       string `json:"group"`
	IsText      bool   `json:"is_text"`
}

// readConfig reads both files from the folder of the model.
func readConfig(library string) (*config, error) {
	folder := filepath.Dir(library)
	c := new(config)
	path := filepath.Join(folder, "config.min.json")
	if err := readJSON(path, c); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w; make the model with: "+
			"$(scripts/venv 0.27) scripts/make_relax_models.py --only magika", err)
	} else if err != nil {
		return nil, err
	}
	if err := readJSON(filepath.Join(folder, "content_types_kb.min.json"), &c.info); err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

func readJSON(path string, value any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, value); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// check makes sure that the rest of the program can rely on what was read.
func (c *config) check() error {
	switch {
	case c.MidSize != 0 || c.AtOffsets:
		return errors.New("the model wants more than the beginning and the end of a file")
	case c.BegSize < 1 || c.EndSize < 0 || c.BlockSize < max(c.BegSize, c.EndSize):
		return fmt.Errorf("beg_size %d, end_size %d and block_size %d do not fit each other", c.BegSize, c.EndSize, c.BlockSize)
	case c.MinSize < 1 || c.MinSize > c.BegSize:
		return fmt.Errorf("min_file_size_for_dl is %d, want 1 to beg_size, %d", c.MinSize, c.BegSize)
	case len(c.Labels) == 0:
		return errors.New("target_labels_space is empty")
	}
	used := append([]string{"directory", "empty", "txt", "unknown"}, c.Labels...)
	for _, label := range c.Overwrite {
		used = append(used, label)
	}
	for _, label := range used {
		if _, ok := c.info[label]; !ok {
			return fmt.Errorf("content_types_kb.min.json does not describe %q", label)
		}
	}
	return nil
}

// tokens is how many tokens the model takes.
func (c *config) tokens() int {
	return c.BegSize + c.EndSize
}

const whiteSpace = " \t\n\v\f\r"

// tokenize writes what the model sees of a file: the bytes at its beginning, then padding, then the bytes at its end,
// without the white space that comes before and after everything. It reports whether these are enough bytes for the
// model.
func (c *config) tokenize(tokens []int32, begin, end []byte) bool {
	begin = bytes.TrimLeft(begin, whiteSpace)
	end = bytes.TrimRight(end, whiteSpace)
	enough := len(begin) >= c.MinSize
	begin = begin[:min(len(begin), c.BegSize)]
	end = end[len(end)-min(len(end), c.EndSize):]
	for i := range tokens {
		tokens[i] = c.Padding
	}
	for i, b := range begin {
		tokens[i] = int32(b)
	}
	for i, b := range end {
		tokens[len(tokens)-len(end)+i] = int32(b)
	}
	return enough
}

// verdict is what became of a file.
type verdict struct {
	label string  // its type
	guess string  // the type with the best score, "" when the model was not asked
	score float32 // of guess, from 0 to 1
	sure  bool    // the score is high enough for guess, or what overwrites it, to be the type
}

// withoutModel tells text from other contents by its first block alone.
func withoutModel(begin []byte) verdict {
	if utf8.Valid(begin) {
		return verdict{label: "txt"}
	}
	return verdict{label: "unknown"}
}

// decide says what the model's scores mean. A type whose score is too low becomes text or unknown.
func (c *config) decide(scores []float32) verdict {
	best := 0
	for i, score := range scores {
		if score > scores[best] {
			best = i
		}
	}
	v := verdict{label: c.Labels[best], guess: c.Labels[best], score: scores[best]}
	if other, ok := c.Overwrite[v.guess]; ok {
		v.label = other
	}
	threshold, ok := c.Thresholds[v.guess]
	if !ok {
		threshold = c.Threshold
	}
	v.sure = float64(v.score) >= threshold
	switch {
	case v.sure:
	case c.info[v.label].IsText:
		v.label = "txt"
	default:
		v.label = "unknown"
	}
	return v
}

// describe is the line for a verdict.
func (c *config) describe(v verdict) string {
	line := c.name(v.label)
	if v.guess == "" {
		return line
	}
	if !v.sure && v.guess != v.label {
		line += ", perhaps " + c.name(v.guess)
	}
	return fmt.Sprintf("%s %.4f", line, v.score)
}

func (c *config) name(label string) string {
	group := c.info[label].Group
	if group == "" {
		group = "unknown"
	}
	return fmt.Sprintf("%s (%s)", c.info[label].Description, group)
}
