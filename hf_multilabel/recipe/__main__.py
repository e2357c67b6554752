"""`python -m hf_multilabel.recipe` writes recipes/recipe.schema.json anew."""

from hf_multilabel.assets import recipes_folder
from hf_multilabel.recipe.json_schema import schema_text

if __name__ == "__main__":
    target = recipes_folder() / "recipe.schema.json"
    target.write_text(schema_text(), encoding="utf-8")
    print(target)
