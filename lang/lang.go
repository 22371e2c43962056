// Package lang holds the texts that learners read, in English and in Chinese: what doctor, trace, topology, explain, why, step,
// the labs and the sandbox say. Errors of the program itself stay English, as Docker's do; below them it is said in Chinese what they mean
// (meaning.go).
//
// # Where the texts are
//
// In catalogue/, one file for each subject and language: doctor.en.txt and doctor.zh.txt. A file is a list of messages:
//
//	[ip-forward.cause]
//	This host does not pass packets on: net.ipv4.ip_forward is {value}.
//
//	[ip-forward.fix]
//	{command}
//
// The key of the first is "doctor.ip-forward.cause": the subject, a full stop, and what stands between the brackets, which is made of
// a-z, 0-9, "-", "_" and ".". A message may have many lines; empty lines at its end do not count. What comes before the first bracket is
// a comment. {value} is a placeholder: lower case, digits, "-" and "_". A real brace before a letter is written twice: {{. Texts are free of plurals:
// "routes: {count}", never "{count} routes". A new subject is two new files; nothing else has to be told.
//
// # How to use them
//
//	texts, err := lang.Open("zh")                       // "en", "zh", or "" for what LC_ALL, LC_MESSAGES, LANG say
//	texts.Text("doctor.ip-forward.cause", "value", 0)   // names and values in turn
//	texts.Text("doctor."+fault+".cause", "value", 0)    // a key may be put together
//
// A command of the command line gets them from (*session).texts, and lists langFlag among its flags (cli/lang.go).
//
// Nothing is read before the first Text of a subject, so that commands that say nothing to learners pay nothing.
//
// The tests of this package compare the two languages (no message and no placeholder may lack in one of them) and read the
// product's Go files: every key that is written there must exist, with the placeholders that are given, and no message may be without
// a use. A key that is put together counts as used for everything that fits its literal beginning and end.
package lang

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
)

// The two languages.
const (
	English = "en"
	Chinese = "zh"
)

// Languages are the names that Open takes.
func Languages() []string { return []string{English, Chinese} }

//go:embed catalogue/*.txt
var files embed.FS

// Catalogue is the texts of one language. It may be used by several goroutines.
type Catalogue struct {
	language string
	mu       sync.Mutex
	subjects map[string]map[string]string // subject -> rest of the key -> text; filled at a subject's first use
	known    map[string]sentences         // subject -> its English sentences; filled at a subject's first use
}

// Open gives the texts of a language: en, zh, a locale such as zh_CN.UTF-8, or "" for what the environment says. It reads nothing yet.
// A language that there is no catalogue for is an error when it was asked for by name, and English when the environment named it.
func Open(name string) (*Catalogue, error) {
	if name == "" {
		name = Detect(os.LookupEnv)
	}
	language := languageOf(name)
	if !slices.Contains(Languages(), language) {
		return nil, fmt.Errorf("invalid language %q: %s", name, strings.Join(Languages(), " or "))
	}
	return &Catalogue{language: language, subjects: make(map[string]map[string]string)}, nil
}

// Detect is the language of an environment, by POSIX's order (locale(7)): LC_ALL, LC_MESSAGES, LANG, the first that is not empty.
func Detect(lookup func(name string) (string, bool)) string {
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if value, _ := lookup(name); value != "" {
			if languageOf(value) == Chinese {
				return Chinese
			}
			return English
		}
	}
	return English
}

// languageOf takes the language out of a locale: zh of zh_CN.UTF-8, zh-Hant or zh.
func languageOf(locale string) string {
	language, _, _ := strings.Cut(strings.ToLower(locale), ".")
	if i := strings.IndexAny(language, "_-@"); i >= 0 {
		language = language[:i]
	}
	return language
}

// Language is en or zh.
func (c *Catalogue) Language() string { return c.language }

// Text is a message with its placeholders filled: names and values in turn. What is wrong with the key or the placeholders is our own
// mistake, which the tests find; it then stands in the text, between ⟪ and ⟫.
func (c *Catalogue) Text(key string, placeholders ...any) string {
	text, err := c.Lookup(key, placeholders...)
	if err != nil {
		return "⟪" + err.Error() + "⟫"
	}
	return text
}

// Lookup is Text with an error: for a key that does not exist (fs.ErrNotExist), a placeholder without a value, and a value for which
// there is no placeholder. Use it where the key comes from a file of a user.
func (c *Catalogue) Lookup(key string, placeholders ...any) (string, error) {
	raw, err := c.raw(key)
	if err != nil {
		return "", err
	}
	text, err := fill(raw, placeholders)
	if err != nil {
		return "", fmt.Errorf("text %s: %w", key, err)
	}
	return text, nil
}

// List is a list of names in a sentence: "br0, br1"; in Chinese the comma is another.
func (c *Catalogue) List(items []string) (list string) {
	for i, item := range items {
		if i == 0 {
			list = item
			continue
		}
		list = c.Text("lang.join", "list", list, "item", item)
	}
	return list
}

// Owner is "container web" or "network br0", as records and rules say it, in the language.
func (c *Catalogue) Owner(text string) string {
	kind, name, _ := strings.Cut(text, " ")
	if kind == "container" || kind == "network" {
		return c.Text("lang."+kind, "name", name)
	}
	return text
}

// Has says whether there is a message of this key.
func (c *Catalogue) Has(key string) bool {
	_, err := c.raw(key)
	return err == nil
}

// Keys are the keys of a subject, sorted; none when there is no such subject.
func (c *Catalogue) Keys(subject string) []string {
	messages, err := c.subject(subject)
	if err != nil {
		return nil
	}
	keys := make([]string, 0, len(messages))
	for rest := range messages {
		keys = append(keys, subject+"."+rest)
	}
	slices.Sort(keys)
	return keys
}

func (c *Catalogue) raw(key string) (string, error) {
	subject, rest, _ := strings.Cut(key, ".")
	messages, err := c.subject(subject)
	if err != nil {
		return "", fmt.Errorf("text %s: %w", key, err)
	}
	text, ok := messages[rest]
	if !ok {
		return "", fmt.Errorf("text %s in %s: %w", key, c.language, fs.ErrNotExist)
	}
	return text, nil
}

func (c *Catalogue) subject(subject string) (map[string]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if messages, ok := c.subjects[subject]; ok {
		return messages, nil
	}
	data, err := files.ReadFile("catalogue/" + subject + "." + c.language + ".txt")
	if err != nil {
		return nil, err
	}
	messages, err := parse(string(data))
	if err != nil {
		return nil, fmt.Errorf("catalogue of %s in %s: %w", subject, c.language, err)
	}
	c.subjects[subject] = messages
	return messages, nil
}
