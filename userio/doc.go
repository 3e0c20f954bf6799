// Package userio exports and imports users as files: Export writes the users of a query as CSV,
// XLSX or NDJSON, Import reads files that Export or another program wrote, and Archive writes
// everything about one user as a ZIP file.
//
// All three stream: ten million users need no more memory than a few thousand. They take the fields
// of a user from the tables of the package userkit, so a new field is exported and imported without
// a change here.
//
// The content of a file is not trusted. Rows, columns and workbooks are bounded, no text runs as a
// formula, and an invalid row is rejected and reported while the others are imported.
package userio
