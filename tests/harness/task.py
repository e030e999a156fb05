"""Task files, as a user would write them."""

import json


def selection(schema, table="%", action="include", rule_id="1", **more):
    return {
        "rule-type": "selection",
        "rule-id": rule_id,
        "rule-name": f"rule-{rule_id}",
        "rule-action": action,
        "object-locator": {"schema-name": schema, "table-name": table},
        **more,
    }


class Task:
    """A task from `source` to `target`; save() writes it beside its state folder."""

    count = 0

    def __init__(self, folder, source, target, tables="%", name=None, target_schema=None):
        Task.count += 1
        self.folder = folder
        self.source, self.target = source, target
        self.name = name or f"t{Task.count}"
        self.body = {
            "task": self.name,
            "migration-type": "full-load",
            "source": source.endpoint(),
            "target": target.endpoint(),
            "table-mappings": {"rules": []},
            "task-settings": {},
        }
        names = [tables] if isinstance(tables, str) else tables
        for i, t in enumerate(names):
            self.rule(selection(source.schema, t, rule_id=str(i + 1)))
        schema = target.target_schema() if target_schema is None else target_schema
        if schema:
            self.setting("TargetMetadata", "TargetSchema", schema)
        # Tests do not wait as long as a production task.
        self.setting("ErrorBehavior", "RecoverableErrorInterval", 1)

    def rule(self, rule):
        self.body["table-mappings"]["rules"].append(rule)
        return self

    def setting(self, group, key, value):
        self.body["task-settings"].setdefault(group, {})[key] = value
        return self

    def source_setting(self, key, value):
        self.body["source"].setdefault("settings", {})[key] = value
        return self

    def target_setting(self, key, value):
        self.body["target"].setdefault("settings", {})[key] = value
        return self

    def own(self, key, value):
        """godwit's own settings: chunk-size-kb, batch-kb, window-mb."""
        self.body.setdefault("settings", {})[key] = value
        return self

    def prep(self, mode):
        return self.setting("FullLoadSettings", "TargetTablePrepMode", mode)

    @property
    def path(self):
        return self.folder / f"{self.name}.json"

    @property
    def state(self):
        return self.folder / f"{self.name}.state"

    def save(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.body, indent=2, ensure_ascii=False))
        return self.path
