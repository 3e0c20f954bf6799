package userio

import (
	"archive/zip"
	"context"
	"encoding/json"
	"io"
	"slices"
	"time"

	"github.com/userkit/userkit"
)

// Archive writes everything that is stored about one user as a ZIP file, which can be handed to the
// user. It contains user.json with the user and, for each kind of userkit.RecordKinds, a file with
// the name of the kind, such as devices.json, with a JSON array of the records, oldest first, which
// may be empty. It is written record by record.
//
// It returns ErrNotFound with CodeUserNotFound without writing anything. It also returns the errors
// of UserRecords and of the writer, after which the archive is incomplete.
func Archive(ctx context.Context, users userkit.UserManager, user userkit.UserID, to io.Writer) error {
	a := archive{kinds: append([]string{userkit.RecordUser}, userkit.RecordKinds()...)}
	for record, err := range users.UserRecords(ctx, user) {
		if err != nil {
			return err
		}
		if a.zip == nil {
			a.zip, a.now = zip.NewWriter(to), users.Project().Now
		}
		if err := a.add(record); err != nil {
			return err
		}
	}
	if a.zip == nil {
		return userkit.NewError(userkit.CodeUserNotFound, "", "no records of user %s", user)
	}
	if err := a.openUntil(len(a.kinds)); err != nil {
		return err
	}
	if err := a.end(); err != nil {
		return err
	}
	return a.zip.Close()
}

// archive is an archive that is being written.
type archive struct {
	zip    *zip.Writer
	now    time.Time
	kinds  []string
	opened int       // how many of kinds have a file
	file   io.Writer // of the last one
	any    bool      // whether a record is in it
}

// add writes one record into the file of its kind.
func (a *archive) add(record userkit.UserRecord) error {
	at := slices.Index(a.kinds, record.Kind)
	if at < 0 { // a kind of a newer store: it is the user's too
		at = len(a.kinds)
		a.kinds = append(a.kinds, record.Kind)
	}
	if err := a.openUntil(at + 1); err != nil {
		return err
	}
	if at+1 != a.opened {
		return userkit.NewError(userkit.CodeBadFormat, record.Kind, "a record of kind %s follows those of kind %s", record.Kind, a.kinds[a.opened-1])
	}
	indent, before := "  ", "[\n  "
	switch {
	case record.Kind == userkit.RecordUser:
		indent, before = "", ""
	case a.any:
		before = ",\n  "
	}
	data, err := json.MarshalIndent(record.Value, indent, "  ")
	if err != nil {
		return userkit.NewError(userkit.CodeBadFormat, record.Kind, "a record that JSON cannot write").Because(err)
	}
	a.any = true
	if _, err := io.WriteString(a.file, before); err != nil {
		return err
	}
	_, err = a.file.Write(data)
	return err
}

// openUntil opens the files of the kinds up to the given number, and ends each file before it opens
// the next.
func (a *archive) openUntil(count int) error {
	for a.opened < count {
		if err := a.end(); err != nil {
			return err
		}
		file, err := a.zip.CreateHeader(&zip.FileHeader{Name: a.kinds[a.opened] + ".json", Method: zip.Deflate, Modified: a.now})
		if err != nil {
			return err
		}
		a.file, a.any = file, false
		a.opened++
	}
	return nil
}

// end writes the end of the open file, if there is one.
func (a *archive) end() error {
	if a.file == nil {
		return nil
	}
	end := "\n]\n"
	switch {
	case a.kinds[a.opened-1] == userkit.RecordUser:
		end = "\n"
	case !a.any:
		end = "[]\n"
	}
	_, err := io.WriteString(a.file, end)
	return err
}
