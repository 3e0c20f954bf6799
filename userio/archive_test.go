package userio_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/userio"
)

// unzip returns the files of a ZIP by name, and the names in their order.
func unzip(t *testing.T, archive []byte) (files map[string]string, names []string) {
	t.Helper()
	reader, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	require.NoError(t, err)
	files = map[string]string{}
	for _, file := range reader.File {
		opened, err := file.Open()
		require.NoError(t, err)
		data, err := io.ReadAll(opened)
		require.NoError(t, err)
		files[file.Name] = string(data)
		names = append(names, file.Name)
	}
	return files, names
}

func TestArchive(t *testing.T) {
	manager := newManager(t)
	user, err := manager.CreateUser(t.Context(), userkit.NewUser{Login: "ann", Name: "<Ann>", Status: userkit.StatusActive, Attributes: userkit.Attributes{"plan": "pro"}})
	require.NoError(t, err)
	_, err = manager.CreateUser(t.Context(), userkit.NewUser{Login: "bob"})
	require.NoError(t, err)
	var tokens []string
	for _, name := range []string{"phone", "laptop"} {
		device, err := manager.RegisterDevice(t.Context(), user.ID, userkit.NewDevice{Name: name})
		require.NoError(t, err)
		require.NotEmpty(t, device.AccessToken)
		tokens = append(tokens, device.AccessToken)
	}

	var archive bytes.Buffer
	require.NoError(t, userio.Archive(t.Context(), manager, user.ID, &archive))
	files, names := unzip(t, archive.Bytes())

	t.Run("has a file for the user and one for each kind of record", func(t *testing.T) {
		want := []string{"user.json"}
		for _, kind := range userkit.RecordKinds() {
			want = append(want, kind+".json")
		}
		require.Equal(t, want, names)
		for name, text := range files {
			require.True(t, json.Valid([]byte(text)), name)
		}
	})
	t.Run("has every record as JSON", func(t *testing.T) {
		var read userkit.User
		require.NoError(t, json.Unmarshal([]byte(files["user.json"]), &read))
		require.Equal(t, user.ID, read.ID)
		require.Equal(t, "<Ann>", read.Name)
		var devices []userkit.Device
		require.NoError(t, json.Unmarshal([]byte(files["devices.json"]), &devices))
		require.Len(t, devices, 2)
		require.Equal(t, "phone", devices[0].Name)
		var events []userkit.Event
		require.NoError(t, json.Unmarshal([]byte(files["events.json"]), &events))
		require.NotEmpty(t, events)
		for _, event := range events {
			require.Equal(t, user.ID, event.UserID)
		}
		require.Equal(t, "[]\n", files["sessions.json"])
	})
	t.Run("has no access token", func(t *testing.T) {
		for name, text := range files {
			for _, token := range tokens {
				require.NotContains(t, text, token, name)
			}
		}
	})
	t.Run("of a user that there is not is nothing at all", func(t *testing.T) {
		var archive bytes.Buffer
		err := userio.Archive(t.Context(), manager, userkit.NewID[userkit.User](), &archive)
		require.ErrorIs(t, err, userkit.ErrNotFound)
		require.Zero(t, archive.Len())
	})
	t.Run("ends with the error of the writer", func(t *testing.T) {
		noSpace := errors.New("no space left")
		require.ErrorIs(t, userio.Archive(t.Context(), manager, user.ID, full{noSpace}), noSpace)
	})
	t.Run("ends with the error of the records", func(t *testing.T) {
		broken := errors.New("broken")
		var archive bytes.Buffer
		require.ErrorIs(t, userio.Archive(t.Context(), recordsOf(userkit.UserRecord{Kind: userkit.RecordUser}, userkit.UserRecord{Value: broken}), user.ID, &archive), broken)
	})
	t.Run("has the records of a kind that is new", func(t *testing.T) {
		var archive bytes.Buffer
		require.NoError(t, userio.Archive(t.Context(), recordsOf(
			userkit.UserRecord{Kind: userkit.RecordUser, Value: 1}, userkit.UserRecord{Kind: "letters", Value: "a"}, userkit.UserRecord{Kind: "letters", Value: "b"}), user.ID, &archive))
		files, names := unzip(t, archive.Bytes())
		require.Len(t, names, len(userkit.RecordKinds())+2)
		require.JSONEq(t, `["a","b"]`, files["letters.json"])
	})
	t.Run("takes no record of a kind that is over", func(t *testing.T) {
		err := userio.Archive(t.Context(), recordsOf(
			userkit.UserRecord{Kind: userkit.RecordUser}, userkit.UserRecord{Kind: "events"}, userkit.UserRecord{Kind: userkit.RecordUser}), user.ID, io.Discard)
		require.Equal(t, userkit.CodeBadFormat, userkit.ErrorCode(err))
	})
}

// fixedRecords is a UserManager whose users all have the same records; a value that
// is an error is one.
type fixedRecords struct {
	userkit.UserManager
	records []userkit.UserRecord
}

func recordsOf(records ...userkit.UserRecord) fixedRecords { return fixedRecords{records: records} }

func (fixedRecords) Project() userkit.Project { return userkit.Project{} }

func (f fixedRecords) UserRecords(context.Context, userkit.UserID) iter.Seq2[userkit.UserRecord, error] {
	return func(yield func(userkit.UserRecord, error) bool) {
		for _, record := range f.records {
			err, _ := record.Value.(error)
			if !yield(record, err) {
				return
			}
		}
	}
}
