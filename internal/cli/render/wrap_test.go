package render

import "testing"

func TestParagraphsAreWrappedAndListsAreNot(t *testing.T) {
	text := "A paragraph of several\nwords, over two lines.\n\n  a list    stays\n  as it    is, however long it may be\n\nübergrößeübergröße end"
	want := "A paragraph of\nseveral words, over\ntwo lines.\n\n  a list    stays\n  as it    is, however long it may be\n\nübergrößeübergröße\nend"
	if got := Wrap(text, 20); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
