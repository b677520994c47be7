# Every target is a command of the README; ./run does the same where make is missing.
.PHONY: setup demo test lint types check bench lock wheel drill soak clean

setup demo test lint types check bench lock wheel drill soak clean:
	@./run $@
