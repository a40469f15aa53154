/* A <style> element of Vue, for a strict content security policy: the policy refuses what scripts add, adopted style sheets
   are allowed. */
import { defineComponent, onBeforeUnmount, watchEffect } from "vue";

export function adopt(styles = "") {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(styles);
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  return sheet;
}

export const AdoptedStyle = defineComponent({
  props: { innerHTML: { type: String, default: "" } },
  setup(props) {
    const sheet = adopt();
    watchEffect(() => sheet.replaceSync(props.innerHTML));
    onBeforeUnmount(() => {
      document.adoptedStyleSheets = document.adoptedStyleSheets.filter((adopted) => adopted !== sheet);
    });
    return () => null;
  },
});
