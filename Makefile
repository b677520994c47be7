# Every target is a command of the README; ./run does the same where make is missing.
.PHONY: setup demo test explore mutants lint types check bench year lock wheel drill soak release clean

setup demo test explore mutants lint types check bench year lock wheel drill soak release clean:
	@./run $@
