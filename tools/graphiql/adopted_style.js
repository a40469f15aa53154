/* react-style-singleton, for a strict content security policy: it adds <style> elements, which the policy refuses;
   adopted style sheets are allowed. */
import { useEffect } from "react";

export function styleSingleton() {
  return function AdoptedStyle({ styles }) {
    useEffect(() => {
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(styles);
      document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
      return () => {
        document.adoptedStyleSheets = document.adoptedStyleSheets.filter((adopted) => adopted !== sheet);
      };
    }, [styles]);
    return null;
  };
}
