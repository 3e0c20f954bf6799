// Package userio moves users in and out as files: Export writes the users of a
// query as CSV, XLSX or NDJSON, Import reads what Export or another program
// wrote, and Archive writes everything about one user as a ZIP.
//
// All three stream: ten million users need no more memory than a few thousand.
// They know the fields of a user from the tables of the package userkit, so a new
// field is exported and imported at once.
//
// What a file holds is not trusted. Rows, columns and workbooks have bounds, no
// text runs as a formula, and a row that is wrong stays out and is reported while
// the others go in.
package userio
