"""The readers that are fuzzed."""

from fuzz import bag_readers, image_readers, model_readers, text_readers

READERS = {
    reader.name: reader
    for module in (image_readers, text_readers, bag_readers, model_readers)
    for reader in module.READERS
}
