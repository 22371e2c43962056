package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"text/template"

	"github.com/mydocker/mydocker/lang"
)

// listing is how a family of rows is shown: as a table, through a Go template, or as JSON. R is a struct of strings whose
// fields are what a template may name; their headers are such a struct too.
type listing[R any] struct {
	header R
	table  string // the default table's template, columns parted by \t
	quiet  string // the template for -q
	raw    string // the template of "raw": lines of name and value for each row
	rawKey string // what stands before the value in "raw" with -q
}

// print writes the rows by Docker's rules for --format: "" and "table" are the default table, "table TEMPLATE" is a table
// of other columns, "json" is one object a row, "raw" is lines with an empty one behind each row, and anything else is a template
// executed for each row.
func (l listing[R]) print(w io.Writer, format string, quiet bool, rows []R) error {
	body, isTable := strings.CutPrefix(format, "table")
	body = strings.TrimSpace(body)
	switch {
	case format == "json":
		body = "{{json .}}"
	case format == "raw" && l.raw != "" && quiet:
		body = l.rawKey + ": " + l.quiet
	case format == "raw" && l.raw != "":
		body = l.raw
	case quiet && body == "":
		body, isTable = l.quiet, false
	case format == "", isTable && body == "":
		body, isTable = l.table, true
	}
	body = strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(body)
	row, err := parseTemplate(body, templateFunctions())
	if err != nil {
		return err
	}
	var out bytes.Buffer
	for _, r := range rows {
		if err := row.Execute(&out, r); err != nil {
			return rowError(err, r)
		}
		out.WriteByte('\n')
	}
	if !isTable {
		_, err = w.Write(out.Bytes())
		return err
	}
	head, err := parseTemplate(body, headerFunctions())
	if err != nil {
		return err
	}
	var table bytes.Buffer
	if err := head.Execute(&table, l.header); err != nil {
		return templateError(err)
	}
	table.WriteByte('\n')
	table.Write(out.Bytes())
	_, err = w.Write(inColumns(table.String(), 10))
	return err
}

// inColumns puts cells, which tabs part, under each other: at least so wide, with three spaces between. A Chinese character takes two
// columns of a terminal, for which text/tabwriter, which Docker uses, has no eye.
func inColumns(text string, least int) []byte {
	var widths []int
	for line := range strings.Lines(text) {
		cells := strings.Split(line, "\t")
		for i, cell := range cells[:len(cells)-1] {
			if i == len(widths) {
				widths = append(widths, least)
			}
			widths[i] = max(widths[i], lang.Width(cell)+3)
		}
	}
	var out bytes.Buffer
	for line := range strings.Lines(text) {
		cells := strings.Split(line, "\t")
		for i, cell := range cells {
			if i < len(cells)-1 {
				cell = lang.Pad(cell, widths[i])
			}
			out.WriteString(cell)
		}
	}
	return out.Bytes()
}

// uses says whether a format needs a field that is dear to compute.
func uses(format, field string) bool { return strings.Contains(format, "."+field) }

func parseTemplate(text string, functions template.FuncMap) (*template.Template, error) {
	t, err := template.New("").Funcs(functions).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("template parsing error in '%s': %w", text, err)
	}
	return t, nil
}

func templateError(err error) error { return fmt.Errorf("template parsing error: %w", err) }

// rowError is the error of a template for rows of a type: a field that there is not is answered with those that there are.
func rowError(err error, row any) error {
	if !strings.Contains(err.Error(), "can't evaluate field") {
		return templateError(err)
	}
	var fields []string
	for _, f := range reflect.VisibleFields(reflect.TypeOf(row)) {
		if f.IsExported() && !f.Anonymous {
			fields = append(fields, "."+f.Name)
		}
	}
	_, field, _ := strings.Cut(err.Error(), "can't evaluate field ")
	field, _, _ = strings.Cut(field, " ")
	return fmt.Errorf("template parsing error: there is no field .%s: %s are known", field, strings.Join(fields, ", "))
}

// templateFunctions are Docker's.
func templateFunctions() template.FuncMap {
	return template.FuncMap{
		"json":  toJSON,
		"split": strings.Split,
		"join":  join,
		//lint:ignore SA1019 it is Docker's function, and meant for words of ASCII
		"title": strings.Title,
		"lower": strings.ToLower,
		"upper": strings.ToUpper,
		"pad": func(text string, before, after int) string {
			if text == "" {
				return text
			}
			return strings.Repeat(" ", max(before, 0)) + text + strings.Repeat(" ", max(after, 0))
		},
		"truncate": func(text string, length int) string {
			if length < 0 || len(text) < length {
				return text
			}
			return text[:length]
		},
	}
}

// headerFunctions leave a column's header as it is.
func headerFunctions() template.FuncMap {
	same := func(text string, _ ...any) string { return text }
	functions := template.FuncMap{"pad": templateFunctions()["pad"]}
	for _, name := range []string{"json", "split", "join", "title", "lower", "upper", "truncate"} {
		functions[name] = same
	}
	return functions
}

// toJSON is a value's JSON on one line, with < > & as they are.
func toJSON(v any) (string, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return strings.TrimSpace(out.String()), err
}

// join is strings.Join, which also takes the []any that decoded JSON is made of.
func join(list any, separator string) (string, error) {
	switch list := list.(type) {
	case []string:
		return strings.Join(list, separator), nil
	case []any:
		words := make([]string, len(list))
		for i, v := range list {
			words[i] = fmt.Sprint(v)
		}
		return strings.Join(words, separator), nil
	case nil:
		return "", nil
	}
	return "", fmt.Errorf("join needs a list, not a %T", list)
}

// writeIndented writes v as Docker's inspect does: four spaces, < > & as they are.
func writeIndented(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "    ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// shortID is the form that tables show: the first 12 digits of an id, which may begin with "sha256:".
func shortID(id string) string {
	id = strings.TrimPrefix(id, "sha256:")
	if len(id) > 12 {
		return id[:12]
	}
	return id
}
