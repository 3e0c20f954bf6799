package storetest

// storeLongGroups are the long cases of the store's half: those that go through many
// records, or through many variations, of what other cases of their groups show with
// few. Options.Brief leaves them out.
func storeLongGroups() []group {
	return []group{
		storeManyGroup(),
		{"Users", []testCase{
			{"pages by every field, both ways", usersPages},
			{"sorts long texts by their first bytes, then by id", usersLongTexts},
			{"leaves out disabled users and nobody else when only active ones are asked for", usersOnlyActive},
		}},
		{"Filter", []testCase{
			{"compares long texts beyond what sorts them", filterLongTexts},
			{"takes wildcards, quotes and escapes as they are", filterHostileTexts},
			{"compares numbers among attributes exactly", filterAttributeNumbers},
			{"compares every field", filterEveryField},
			{"means on every store what it means in Go", filterProperty},
		}},
		{"FindUsers", []testCase{
			{"finds users by a thousand values", findUsersMany},
		}},
		{"Commit", []testCase{
			{"writes nothing of a change whose value is taken", commitTakenWritesNothing},
			{"makes a change of a thousand records", commitThousandRecords},
		}},
		{"Sessions", []testCase{
			{"follows changes of every field", sessionsOrderAfterChange},
			{"pages the sessions that a filter takes", sessionsFilteredPages},
		}},
		{"SessionOwners", []testCase{
			{"takes a hundred thousand sessions", sessionOwnersOfMany},
		}},
		{"Purchases", []testCase{
			{"pages the purchases that a filter takes", purchasesFilteredPages},
			{"are listed in order when they are many", purchasesMany},
		}},
	}
}

// managerLongGroups are the long cases of the manager's half.
func managerLongGroups() []group {
	return []group{
		{"Thousands", []testCase{{"of everything are read, verified, sealed and closed to the last", thousands}}},
		{"Users", []testCase{
			{"are sorted by every field both ways, whole and in pages of every size", usersSorted},
		}},
	}
}
