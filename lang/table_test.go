package lang

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	var b strings.Builder
	if err := Table(&b, [][]string{{"实验", "进度", "课题"}, {"cable", "1/5", "网线"}, {"é", "12345", "x"}}); err != nil {
		t.Fatal(err)
	}
	if want := "实验    进度    课题\ncable   1/5     网线\né       12345   x\n"; b.String() != want {
		t.Errorf("%q", b.String())
	}
}

func TestProblem(t *testing.T) {
	var err error = Errorf(fs.ErrNotExist, "lab.error-unknown", "lab", "x")
	zh, openErr := Open("zh")
	if openErr != nil {
		t.Fatal(openErr)
	}
	translated := zh.Error(err)
	if !errors.Is(err, fs.ErrNotExist) || !errors.Is(translated, fs.ErrNotExist) {
		t.Error("the cause is lost")
	}
	if !strings.Contains(err.Error(), `there is no lab "x"`) || !strings.Contains(translated.Error(), "没有叫“x”的实验") {
		t.Error(err, translated)
	}
	other := errors.New("other")
	if zh.Error(other) != other || zh.Error(nil) != nil {
		t.Error("another error is changed")
	}
}
