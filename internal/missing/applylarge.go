package missing

import "context"

// system reports whether the table is a catalog, by which large objects are listed.
func (t *mergeTable) system() bool {
	return t.Schema == "pg_catalog" && (t.Name == LargeObjects || t.Name == largeObjectOwners)
}

// largeObjectOwners is the name of the catalog that says which large objects there are.
const largeObjectOwners = "pg_largeobject_metadata"

func (t *mergeTable) special(*mergeColumn) {}

func (m *merger) applyLarge(context.Context) error { return nil }
