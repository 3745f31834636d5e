module podseal.dev/test/oracle

go 1.24
