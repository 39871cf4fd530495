package api

import (
	"testing"

	"github.com/smartdr/smartdr/internal/fault"
)

func TestASearchTakesAQuery(t *testing.T) {
	for query, taken := range map[string]bool{
		"select from users where id = 7": true, " (SELECT 1)": true, "with a as (select 1) table a": true, "TABLE users": true, "values (1)": true,
		"select": true, "select*from users": true, "-- why\nselect 1": true, "/* why */ select 1": true, "select\n1": true,
		"banana": false, "delete from users": false, "explain select 1": false, "": false,
	} {
		err := readsOnly(query)
		if taken != (err == nil) || err != nil && (!fault.Is(err, fault.Invalid) || fault.HintOf(err) == "") {
			t.Errorf("%q: %v", query, err)
		}
	}
}
