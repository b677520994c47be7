"""Make the files of the schema that the program has now."""

from tests.storage.releases import main

if __name__ == "__main__":
    main()
