package lab

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/mydocker/mydocker/lang"
)

//go:embed course
var course embed.FS

// order is that in which the course is taught. Labs of teachers come behind, by name.
func order() []string {
	return []string{"process", "root", "limits", "layers", "namespace", "cable", "bridge", "nat-out", "publish", "names", "modes", "isolation", "crash", "runtime",
		"bridge-network", "netns-practice", "docker-network", "seven-days", "container-network"}
}

// Library is where labs come from: the course, and directories of teachers, the later ones before the earlier.
type Library struct {
	Dirs     []string
	Language string // en or zh
}

// sources are the file systems in which labs may be, the best first.
func (l Library) sources() (all []source, err error) {
	for _, dir := range slices.Backward(l.Dirs) {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return nil, lang.Errorf(fs.ErrNotExist, "lab.error-directory", "dir", dir)
		}
		all = append(all, source{os.DirFS(dir), dir})
	}
	sub, err := fs.Sub(course, "course")
	return append(all, source{sub, "course"}), err
}

type source struct {
	files fs.FS
	name  string
}

// Names are all labs, in the order of the course.
func (l Library) Names() ([]string, error) {
	sources, err := l.sources()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, s := range sources {
		for _, language := range lang.Languages() { // a translation without a lab is a mistake, and is told as one
			files, err := fs.Glob(s.files, "*."+language+".md")
			if err != nil {
				return nil, err
			}
			for _, file := range files {
				if name := strings.TrimSuffix(file, "."+language+".md"); !slices.Contains(names, name) {
					names = append(names, name)
				}
			}
		}
	}
	rank := func(name string) int {
		if i := slices.Index(order(), name); i >= 0 {
			return i
		}
		return len(order())
	}
	slices.SortFunc(names, func(a, b string) int {
		if r := rank(a) - rank(b); r != 0 {
			return r
		}
		return strings.Compare(a, b)
	})
	return names, nil
}

// files are those of a teacher's lab, by name; none for one of the course.
func (l Library) files(name string) (map[string][]byte, error) {
	sources, err := l.sources()
	if err != nil {
		return nil, err
	}
	for _, s := range sources[:len(sources)-1] { // the last one is the course
		files := map[string][]byte{}
		for _, language := range lang.Languages() {
			file := name + "." + language + ".md"
			data, err := fs.ReadFile(s.files, file)
			if err == nil {
				files[file] = data
			} else if !errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("read lab %s: %w", name, err)
			}
		}
		if len(files) > 0 {
			return files, nil
		}
	}
	return nil, nil
}

// goodName: a lab's sandbox is called as the lab.
func goodName(name string) bool {
	return regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]{0,35}$`).MatchString(name)
}

// Load reads a lab in the library's language. Absent is fs.ErrNotExist; a lab without a translation is given in English.
func (l Library) Load(name string) (*Lab, error) {
	sources, err := l.sources()
	if err != nil {
		return nil, err
	}
	for _, s := range sources {
		if name == "" || strings.ContainsAny(name, "/\x00") {
			break
		}
		data, err := fs.ReadFile(s.files, name+".en.md")
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read lab %s: %w", name, err)
		}
		if !goodName(name) {
			return nil, fault(path.Join(s.name, name+".en.md"), 1, "a lab is called by a-z 0-9 _ . -, up to 36 of them, the first a letter or digit")
		}
		lab, err := Parse(path.Join(s.name, name+".en.md"), name, data)
		if err != nil || l.Language == "en" {
			return lab, err
		}
		file := name + "." + l.Language + ".md"
		data, err = fs.ReadFile(s.files, file)
		if errors.Is(err, fs.ErrNotExist) {
			return lab, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read lab %s: %w", name, err)
		}
		return lab.Translate(path.Join(s.name, file), data)
	}
	for _, s := range sources { // a teacher who writes Chinese alone
		for _, language := range lang.Languages() {
			file := name + "." + language + ".md"
			if _, err := fs.Stat(s.files, file); err == nil && name != "" {
				return nil, fault(path.Join(s.name, file), 1, "this is a translation without a lab: %s, which has the commands, is not there; its texts may be in any language", path.Join(s.name, name+".en.md"))
			}
		}
	}
	return nil, lang.Errorf(fs.ErrNotExist, "lab.error-unknown", "lab", name)
}
